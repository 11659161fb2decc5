// The page: what was dropped is uploaded, counted, shown as it comes, and counted again as asked.

import { download, get, post, put, upload } from "./api.js";
import { duration, grouped, make, many, one, tell } from "./dom.js";
import { takeFiles } from "./drop.js";
import { Extras } from "./extras.js";
import { howForm, viewTold } from "./how.js";
import { OwnPanel } from "./own.js";
import { Table } from "./table.js";
import { Viewer } from "./viewer.js";

const POLL = 400;
const ALIVE = 5 * 60 * 1000;
const PANELS = ["again", "own", "extras"];
const UNFINISHED = ["waiting", "counting", "calibrating"];

let about;
let job = "";
let status = null;
let uploading = null;
let images = [];
let started = 0;
let timer = 0;
let table;
let viewer;
let panel;
let extras;
let startForm;
let againForm;

const id = () => job;
const models = () => about.models;

async function trying(work) {
  try {
    const value = await work();
    tell("");
    return value ?? true;
  } catch (error) {
    tell(error.message);
    return false;
  }
}

// Uploads

function send(files) {
  if (uploading) return tell("the last upload is not done: wait for it, or cancel it");
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  if (files.length > about.files) return tell(`these are ${grouped(files.length)} files, and an upload may have ${grouped(about.files)}`);
  if (size > about.upload_bytes) return tell(`these files have ${(size / 1e9).toFixed(1)} GB: drop fewer at a time`);
  const how = startForm.read();
  const fields = { model: how.model, labels: "true", overlays: "true" };
  for (const [name, value] of Object.entries(how.view)) fields[name] = String(value);
  if (how.diameter) fields.diameter = String(how.diameter);
  tell("");
  begin();
  show({ state: `Sending ${many(files.length, "file")}`, part: 0 });
  uploading = upload(files, fields, (sent, total) => show({ state: `Sending ${many(files.length, "file")}`, part: total ? sent / total : 0 }));
  uploading.done
    .then((first) => {
      uploading = null;
      taken(first);
    })
    .catch((error) => {
      uploading = null;
      tell(error.message);
      one("#work").hidden = !job;
      one("#progress").hidden = true;
    });
}

function begin() {
  clearTimeout(timer);
  job = "";
  status = null;
  images = [];
  table.clear();
  table.own.clear();
  table.draw();
  one("#work").hidden = false;
  one("#numbers").replaceChildren();
  one("#to-know").replaceChildren();
  one("#start").classList.add("small");
  for (const panelName of PANELS) one(`#${panelName}`).hidden = true;
}

function taken(first) {
  job = first.job;
  started = Date.now();
  listEarlier();
  learned(first, true);
}

// What comes of a job

function learned(news, whole) {
  const fresh = whole || !status || news.revision !== status.revision;
  if (fresh) {
    table.clear();
    if (whole) {
      images = news.images;
      table.own = new Map(images.filter((image) => image.own_count !== null).map((image) => [image.number, image.own_count]));
      againForm.set(news.view, news.model);
    }
  }
  table.add(news.rows, news.failures);
  status = news;
  draw(fresh || news.rows.length + news.failures.length > 0);
  clearTimeout(timer);
  if (UNFINISHED.includes(news.state)) timer = setTimeout(ask, POLL);
}

async function ask() {
  const asked = job;
  try {
    const news = await get(`/api/jobs/${asked}?after=${status.news}`);
    if (asked !== job) return;
    if (news.revision !== status.revision) learned(await get(`/api/jobs/${asked}`), true);
    else learned(news, false);
  } catch (error) {
    tell(error.message);
    if (error.status !== 404) timer = setTimeout(ask, 5 * POLL);
  }
}

function draw(rows) {
  const busy = UNFINISHED.includes(status.state);
  const doing = {
    waiting: status.ahead ? `Waiting: ${many(status.ahead, "upload")} before this one` : "Waiting",
    counting: status.done ? `${grouped(status.done)} of ${many(status.total, "plane")} counted` : "Looking for the size of the cells",
    calibrating: `Fitting the model: ${status.done} of ${many(status.total, "image")}`,
    done: `Done: ${many([...table.rows.values()].filter((row) => row.error === undefined).length, "plane")} counted by ${status.model}`,
    cancelled: "Cancelled: what was counted is below",
    failed: "Not counted",
  }[status.state];
  show({ state: doing, part: status.total ? (status.done + status.part) / status.total : 0, left: status.seconds_left, busy });
  if (status.error) tell(status.error);
  for (const name of PANELS) one(`#${name}`).hidden = images.length === 0;
  one("#recount").disabled = busy;
  one("#download").disabled = busy || table.rows.size === 0;
  if (rows) {
    table.draw();
    numbers();
    toKnow();
  }
  panel.draw(table.own.size, status);
  extras.draw(status, models().find((model) => model.name === status.model)?.masks ?? false);
}

function show({ state, part, left = null, busy = true }) {
  one("#progress").hidden = false;
  one("#state").textContent = state;
  one("#left").textContent = busy && left !== null ? `about ${duration(left)} left` : "";
  one("#bar").hidden = !busy;
  one("#bar").value = part;
  one("#cancel").hidden = !busy;
}

function numbers() {
  const rows = [...table.rows.values()];
  const counted = rows.filter((row) => row.error === undefined);
  const byCount = counted.some((row) => row.count !== null);
  const sum = counted.reduce((total, row) => total + ((byCount ? row.count : row.objects) ?? 0), 0);
  const flagged = counted.filter((row) => row.flags.length).length;
  const failed = rows.length - counted.length;
  const images = new Set(counted.map((row) => row.number)).size;
  const card = (value, name, warn) => make("div", { class: warn ? "warn" : "" }, make("b", {}, value), name);
  if (!rows.length) return one("#numbers").replaceChildren();
  one("#numbers").replaceChildren(
    card(grouped(images), images === 1 ? "image counted" : "images counted"),
    card(grouped(sum), byCount ? "cells" : "objects"),
    card(counted.length ? (sum / counted.length).toFixed(1) : "–", "per plane"),
    card(grouped(flagged), "flagged", flagged > 0),
    card(grouped(failed), "not counted", failed > 0),
  );
}

function toKnow() {
  const tally = new Map();
  const counted = [...table.rows.values()].filter((row) => row.error === undefined);
  for (const row of counted) for (const flag of row.flags) tally.set(flag, (tally.get(flag) || 0) + 1);
  const flagged = counted.filter((row) => row.flags.length).length;
  const parts = [];
  if (flagged) {
    const lines = [...tally].sort((a, b) => b[1] - a[1]).map(([flag, number]) =>
      make(
        "li",
        {},
        make("button", { type: "button", class: "plain flag-name", title: "show these", onclick: () => {
          one("#find").value = flag;
          one("#find").oninput();
          one("#table").scrollIntoView({ block: "nearest" });
        } }, `${flag.replaceAll("-", " ")} (${grouped(number)})`),
        ` ${about.words[flag].meaning}. `,
        make("b", {}, "What to do: "),
        `${about.words[flag].advice}.`,
      ),
    );
    const most = [...tally].sort((a, b) => b[1] - a[1])[0][0];
    parts.push(
      make(
        "details",
        { class: "card warn", open: flagged > counted.length / 2 },
        make("summary", {}, `${flagged} of ${counted.length} flagged, mostly ${most.replaceAll("-", " ")}: look at them before you trust their counts`),
        make("ul", {}, ...lines),
      ),
    );
  }
  for (const note of status.notes) parts.push(make("p", { class: "note" }, `${note}.`));
  one("#to-know").replaceChildren(...parts);
}

// What is asked for

async function setCounts(counts) {
  const done = await trying(() => put(`/api/jobs/${job}/counts`, { counts }));
  if (!done) return;
  for (const [number, value] of Object.entries(counts)) {
    if (value === null) table.own.delete(Number(number));
    else table.own.set(Number(number), value);
  }
  status = { ...status, calibration: done.calibration };
  panel.draw(table.own.size, status);
  if (Object.keys(counts).length > 1) table.draw();
}

async function countAgain(how) {
  one("#download").disabled = true;
  show({ state: "Waiting", part: 0 });
  if (!(await trying(() => post(`/api/jobs/${job}/recount`, how)))) {
    draw(false);
    return false;
  }
  if (how.image !== undefined) table.clear(how.image);
  const whole = await get(`/api/jobs/${job}`);
  learned(whole, true);
  one("#progress").scrollIntoView({ block: "nearest" });
  return true;
}

const recount = {
  viewOf: (number) => images[number]?.view ?? status.view,
  one: (number, view, diameter) => countAgain({ image: number, view, diameter }),
};

async function saved(name, count) {
  if (count) show({ state: "Waiting", part: 0 });
  about.models = await get("/api/models");
  for (const form of [startForm, againForm]) form.offer(about.models);
  if (count) {
    const model = about.models.find((each) => each.name === name);
    await countAgain({ model: name, view: { ...status.view, ...picked(model.view) } });
  } else {
    learned(await get(`/api/jobs/${job}`), true);
  }
}

const picked = ({ z, channel, scale, cells }) => ({ z, channel, scale, cells });

async function listEarlier() {
  const { jobs } = await get("/api/jobs");
  const label = one("#earlier");
  label.hidden = jobs.length < 2;
  one("select", label).replaceChildren(
    ...jobs.map((each, k) => make("option", { value: each.job, selected: each.job === job }, `${k + 1}: ${many(each.images.length, "image")}`)),
  );
  return jobs;
}

function told() {
  const { model, view, diameter } = startForm.read();
  const parts = [model, viewTold(view), diameter ? `cells of ${diameter} pixels` : ""].filter(Boolean);
  one("#how-told").textContent = parts.join(", ");
}

async function main() {
  about = await get("/api/about");
  about.words = Object.fromEntries(about.flags.map((flag) => [flag.flag, flag]));
  one("#where").textContent = about.local
    ? "Images stay on this machine."
    : `Images are sent to ${location.hostname}, and removed ${Math.round(about.minutes)} minutes after you close this page.`;
  startForm = howForm(models);
  againForm = howForm(models);
  startForm.set(about.models[0].view, about.models[0].name);
  one("#how .slot").append(startForm.element);
  one("#again .slot").append(againForm.element);
  startForm.element.addEventListener("change", told);
  told();
  table = new Table({ job: id, words: about.words, open: (key) => viewer.open(key), count: setCounts });
  viewer = new Viewer({ job: id, table, words: about.words, models, count: setCounts, recount });
  panel = new OwnPanel({ job: id, fewest: about.fewest, saved, started: (news) => learned({ ...news, rows: [], failures: [] }, false) });
  extras = new Extras({ job: id, taken: async (notes) => {
    learned(await get(`/api/jobs/${job}`), true);
    if (notes.length) tell(`${notes.join("; ")}.`);
  } });
  takeFiles(send, tell);
  one("#cancel").onclick = () => (uploading ? uploading.cancel() : trying(() => post(`/api/jobs/${job}/cancel`)));
  one("#recount").onclick = () => {
    const { model, view, diameter } = againForm.read();
    countAgain({ model, view, diameter });
  };
  one("#download").onclick = () => trying(() => download(job, "results", extras.read()));
  one("#earlier select").onchange = async (event) => {
    begin();
    job = event.target.value;
    learned(await get(`/api/jobs/${job}`), true);
  };
  setInterval(() => job && get(`/api/jobs/${job}?after=${status?.news ?? 0}`).catch(() => {}), ALIVE);
  const jobs = await listEarlier();
  if (jobs.length) {
    begin();
    job = jobs.at(-1).job;
    await listEarlier();
    learned(jobs.at(-1), true);
  }
  document.documentElement.dataset.ready = "true";
}

main().catch((error) => tell(error.message));
