// The table: a row per plane, sorted and filtered as asked, with small pictures that are fetched when they come in sight.

import { blob, placed } from "./api.js";
import { grouped, make, one } from "./dom.js";

const COLUMNS = [
  { key: "picture", heading: "" },
  { key: "image", heading: "image", text: true },
  { key: "count", heading: "count" },
  { key: "interval", heading: "90 %", title: "interval that holds the true count of 90 % of such images" },
  { key: "objects", heading: "objects", title: "cells that could be told apart in the mask" },
  { key: "flags", heading: "why not to trust it", text: true },
  { key: "own", heading: "by eye", title: "counted by eye" },
];
const AT_ONCE = 4;
const STEP = 300;

export const keyOf = (row) => [row.number, row.scene ?? 0, row.t ?? 0, row.z ?? 0].join("-");

export function interval(row) {
  return row.low === null || row.low === undefined ? "" : `${Math.floor(row.low)} to ${Math.ceil(row.high)}`;
}

export function flagDetails(flag, words) {
  const known = words[flag] || { meaning: "", advice: "" };
  return make(
    "details",
    { class: "flag" },
    make("summary", {}, flag.replaceAll("-", " ")),
    make("p", {}, `${capital(known.meaning)}.`),
    make("p", {}, make("b", {}, "What to do: "), `${known.advice}.`),
  );
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export class Table {
  constructor({ job, words, open, count, paste }) {
    Object.assign(this, { job, words, open, count, paste });
    this.rows = new Map();
    this.lines = new Map();
    this.own = new Map();
    this.sort = { key: "image", down: false };
    this.shown = STEP;
    this.waiting = [];
    this.fetching = 0;
    this.pictures = new Map();
    this.seen = new IntersectionObserver((entries) => this.inSight(entries), { rootMargin: "300px" });
    this.head();
    for (const id of ["find", "show", "flagged-first"]) {
      one(`#${id}`).oninput = () => {
        this.shown = STEP;
        this.draw();
      };
    }
    one("#more button").onclick = () => {
      this.shown += 1000;
      this.draw();
    };
  }

  head() {
    one("#head").replaceChildren(
      ...COLUMNS.map(({ key, heading, text, title }) => {
        if (!heading) return make("td");
        const sorted = this.sort.key === key ? (this.sort.down ? "descending" : "ascending") : "none";
        const mark = sorted === "none" ? "" : this.sort.down ? " ▾" : " ▴";
        const sort = () => {
          this.sort = { key, down: this.sort.key === key ? !this.sort.down : key !== "image" };
          this.head();
          this.draw();
          one(`[data-key=${key}] button`).focus();
        };
        return make(
          "th",
          { scope: "col", class: text ? "text" : "", "aria-sort": sorted, "data-key": key },
          make("button", { type: "button", class: "plain", title, onclick: sort }, `${heading}${mark}`),
        );
      }),
    );
  }

  clear(number) {
    for (const [key, row] of this.rows) {
      if (number === undefined || row.number === number) this.drop(key);
    }
  }

  drop(key) {
    this.rows.delete(key);
    this.lines.delete(key);
    const url = this.pictures.get(key);
    if (url) URL.revokeObjectURL(url);
    this.pictures.delete(key);
  }

  add(rows, failures) {
    for (const row of rows) {
      const key = keyOf(row);
      if (this.rows.has(key)) this.drop(key);
      this.rows.set(key, row);
    }
    for (const failure of failures) this.rows.set(`${keyOf(failure)}-${failure.error}`, failure);
  }

  planesOf(number) {
    return [...this.rows.values()].filter((row) => row.number === number && row.error === undefined);
  }

  ordered() {
    const find = one("#find").value.trim().toLowerCase();
    const show = one("#show").value;
    this.planes = new Map();
    for (const row of this.rows.values()) {
      if (this.planes.has(row.number)) this.planes.get(row.number).push(row);
      else this.planes.set(row.number, [row]);
    }
    const fits = (row) => {
      const flagged = row.error === undefined && row.flags.length > 0;
      if (show === "flagged" && !flagged) return false;
      if (show === "fine" && (flagged || row.error !== undefined)) return false;
      if (show === "failed" && row.error === undefined) return false;
      if (show === "own" && !this.own.has(row.number)) return false;
      if (show === "without" && (this.own.has(row.number) || row.error !== undefined)) return false;
      if (!find) return true;
      return row.image.toLowerCase().includes(find) || (row.flags || []).some((flag) => flag.includes(find));
    };
    const value = {
      image: (row) => row.number,
      count: (row) => row.count ?? row.objects ?? -1,
      interval: (row) => (row.high ?? NaN) - (row.low ?? NaN),
      objects: (row) => row.objects ?? -1,
      flags: (row) => (row.error !== undefined ? 99 : row.flags.length),
      own: (row) => this.own.get(row.number) ?? -1,
    }[this.sort.key];
    const sign = this.sort.down ? -1 : 1;
    const first = one("#flagged-first").checked;
    const doubt = (row) => (row.error !== undefined || row.flags.length > 0 ? 0 : 1);
    const places = (row) => [row.number, row.scene ?? 0, row.t ?? 0, row.z ?? 0];
    return [...this.rows.entries()]
      .filter(([, row]) => fits(row))
      .sort(([, a], [, b]) => {
        if (first && doubt(a) !== doubt(b)) return doubt(a) - doubt(b);
        const [left, right] = [value(a), value(b)].map((each) => (Number.isNaN(each) ? -1 : each));
        if (left !== right) return sign * (left - right);
        const [here, there] = [places(a), places(b)];
        const k = here.findIndex((each, index) => each !== there[index]);
        return k < 0 ? 0 : here[k] < there[k] ? -1 : 1;
      });
  }

  draw() {
    const rows = this.ordered();
    const most = Math.max(1, ...[...this.rows.values()].map((row) => row.count ?? 0));
    this.visible = rows.map(([key]) => key);
    this.place(rows.slice(0, this.shown).map(([key, row]) => this.line(key, row, most)));
    one("#more").hidden = rows.length <= this.shown;
    one("#none").hidden = rows.length > 0 || this.rows.size === 0;
  }

  // Lines that are in their place stay untouched, so that what is being typed goes on.
  place(lines) {
    const body = one("#body");
    let here = body.firstElementChild;
    for (const line of lines) {
      if (line === here) here = here.nextElementSibling;
      else body.insertBefore(line, here);
    }
    while (here) {
      const next = here.nextElementSibling;
      here.remove();
      here = next;
    }
  }

  line(key, row, most) {
    if (!this.lines.has(key)) {
      this.lines.set(key, row.error === undefined ? this.counted(key, row) : this.failed(row));
    }
    const line = this.lines.get(key);
    const bar = one(".bar", line);
    if (bar) bar.style.setProperty("--part", `${(100 * (row.count ?? 0)) / most}%`);
    const place = one(".place", line);
    if (place) place.textContent = this.placeTold(row);
    const input = one("input", line);
    if (input) {
      const several = this.planes.get(row.number).length > 1;
      input.disabled = several;
      input.title = several ? "choose one plane in the view, and each image can be counted by eye" : "";
      if (input !== document.activeElement) input.value = this.own.get(row.number) ?? "";
    }
    return line;
  }

  counted(key, row) {
    const picture = make(
      "button",
      { type: "button", class: "picture", "aria-label": `Look at ${row.image}${this.placeTold(row)}`, onclick: () => this.open(key) },
      make("img", { alt: "", width: "80", height: "60" }),
    );
    picture.dataset.key = key;
    this.seen.observe(picture);
    const facts = [`${row.width} × ${row.height}`];
    if (row.channel) facts.push(row.channel);
    if (row.scale !== 1) facts.push(`scale ${row.scale}`);
    const own = make("input", {
      type: "text",
      inputmode: "decimal",
      class: "own",
      "aria-label": `Cells of ${row.image} counted by eye`,
      "data-own": String(row.number),
      onchange: (event) => this.typed(row.number, event.target),
      onkeydown: (event) => this.step(event),
      onpaste: (event) => this.pasted(event, row.number),
    });
    const flags = row.flags.map((flag) => flagDetails(flag, this.words));
    if (row.unlike) flags.push(make("span", { class: "soft small" }, row.unlike));
    return make(
      "tr",
      {},
      make("td", { class: "picture-cell" }, picture),
      make(
        "th",
        { scope: "row", class: "text name" },
        make("button", { type: "button", class: "plain link", onclick: () => this.open(key) }, row.image),
        make("span", { class: "place" }),
        make("span", { class: "soft small" }, facts.join(" · ")),
      ),
      make("td", { class: "bar", "data-label": "count" }, row.count === null ? "–" : grouped(row.count)),
      make("td", { "data-label": "90 %" }, interval(row) || "–"),
      make("td", { "data-label": "objects" }, row.objects === null ? "–" : grouped(row.objects)),
      make("td", { class: "text flags" }, ...flags),
      make("td", { "data-label": "by eye" }, own),
    );
  }

  failed(row) {
    return make(
      "tr",
      { class: "failed" },
      make("td", { class: "picture-cell" }, make("span", { class: "no-picture", "aria-hidden": "true" }, "✕")),
      make("th", { scope: "row", class: "text name" }, row.image),
      make("td", { class: "text", colspan: "5" }, make("b", {}, "Not counted: "), row.error),
    );
  }

  placeTold(row) {
    const planes = this.planes.get(row.number).filter((plane) => plane.error === undefined);
    const parts = ["scene", "t", "z"].filter((axis) => new Set(planes.map((plane) => plane[axis])).size > 1);
    return parts.length ? `, ${parts.map((axis) => `${axis} ${row[axis]}`).join(" ")}` : "";
  }

  async typed(number, input) {
    const text = input.value.trim().replace(",", ".");
    const value = text === "" ? null : Number(text);
    const wrong = value !== null && !(value >= 0 && Number.isFinite(value));
    input.setAttribute("aria-invalid", String(wrong));
    if (!wrong) await this.count({ [number]: value });
  }

  step(event) {
    if (event.key !== "Enter" && event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    event.preventDefault();
    const inputs = [...document.querySelectorAll("input.own:not(:disabled)")];
    const next = inputs[inputs.indexOf(event.target) + (event.key === "ArrowUp" ? -1 : 1)];
    if (next) next.focus();
    else event.target.blur();
  }

  pasted(event, number) {
    const values = event.clipboardData.getData("text").trim().split(/\r?\n/);
    if (values.length < 2) return;
    event.preventDefault();
    const below = this.visible.map((key) => this.rows.get(key)).filter((row) => row.error === undefined);
    const from = below.findIndex((row) => row.number === number);
    const counts = {};
    values.forEach((text, k) => {
      const value = Number(text.trim().replace(",", "."));
      const row = below[from + k];
      if (row && text.trim() !== "" && value >= 0) counts[row.number] = value;
    });
    event.target.value = counts[number] ?? "";
    this.count(counts);
  }

  inSight(entries) {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      this.seen.unobserve(entry.target);
      this.waiting.push(entry.target);
    }
    this.fetch();
  }

  async fetch() {
    while (this.waiting.length && this.fetching < AT_ONCE) {
      const button = this.waiting.shift();
      const key = button.dataset.key;
      const row = this.rows.get(key);
      if (!row) continue;
      this.fetching += 1;
      blob(placed(this.job(), row.number, row, "picture", { layer: "thumbnail" }))
        .then((picture) => {
          const url = URL.createObjectURL(picture);
          this.pictures.set(key, url);
          one("img", button).src = url;
        })
        .catch(() => button.classList.add("lost"))
        .finally(() => {
          this.fetching -= 1;
          this.fetch();
        });
    }
  }
}
