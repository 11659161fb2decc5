// One plane large: zoomed and moved, with what was found over it, regions that are drawn, cells that are added or removed.

import { blob, get, placed, post, put } from "./api.js";
import { howForm } from "./how.js";
import { grouped, make, one, tell } from "./dom.js";
import { flagDetails, interval } from "./table.js";

const BASE_SIDE = 1600;
const DETAIL_SIDE = 2048;
const STEP = 60;
const NEAR = 9;
const LAYERS = [
  { key: "outlines", heading: "Outlines", on: true },
  { key: "mask", heading: "Mask", on: false },
  { key: "count-map", heading: "Count map", on: false },
];

export class Viewer {
  constructor({ job, table, words, models, count, recount }) {
    Object.assign(this, { job, table, words, models, count, recount });
    this.dialog = one("#viewer");
    this.canvas = one("#canvas");
    this.side = one("#side");
    this.layers = Object.fromEntries(LAYERS.map(({ key, on }) => [key, on]));
    this.opacity = 0.9;
    this.tool = "move";
    this.pointers = new Map();
    this.marks = new Map();
    this.own = new Set();
    this.turn = 0;
    one("#close").onclick = () => this.dialog.close();
    one("#previous").onclick = () => this.go(-1);
    one("#next").onclick = () => this.go(1);
    one("#zoom-in").onclick = () => this.zoom(1.5);
    one("#zoom-out").onclick = () => this.zoom(1 / 1.5);
    one("#fit").onclick = () => this.fit();
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("cancel", (event) => {
      if (this.vertices?.length && !this.region) {
        event.preventDefault();
        this.vertices = [];
        this.draw();
      }
    });
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.canvas);
  }

  async open(key) {
    this.key = key;
    this.marks.clear(); // another upload has the same keys
    this.own.clear();
    this.row = this.table.rows.get(key);
    this.size = [this.row.height, this.row.width];
    this.channel = "";
    this.place = { scene: this.row.scene, t: this.row.t, z: this.row.z };
    this.vertices = [];
    this.region = null;
    this.bitmaps = {};
    this.detail = null;
    this.facts = null;
    one("#viewer-name").textContent = this.row.image;
    if (!this.dialog.open) this.dialog.showModal();
    this.resized();
    this.fit();
    this.panel();
    await Promise.all([this.load(), this.learn()]);
    if (this.tool === "correct") await this.centres();
  }

  closed() {
    this.turn += 1;
    one("#viewer-alert").hidden = true;
    this.table.draw();
    const button = document.querySelector(`[data-key="${this.key}"]`);
    if (button) button.focus();
  }

  go(step) {
    const keys = this.table.visible.filter((key) => this.table.rows.get(key)?.error === undefined);
    const next = keys[keys.indexOf(this.key) + step];
    if (next) this.open(next);
  }

  async learn() {
    const turn = this.turn;
    try {
      const facts = await get(`/api/jobs/${this.job()}/images/${this.row.number}`);
      if (turn !== this.turn) return;
      this.facts = facts;
      this.panel();
    } catch (error) {
      tell(error.message);
    }
  }

  url(layer, more) {
    const image = layer === "image";
    const row = { ...this.row, ...(image ? this.place : {}) };
    return placed(this.job(), this.row.number, row, "picture", { layer, channel: image ? this.channel : "", ...more });
  }

  counted() {
    return ["scene", "t", "z"].every((axis) => String(this.place[axis]) === String(this.row[axis]));
  }

  wanted() {
    return ["image", ...(this.counted() ? LAYERS.map(({ key }) => key).filter((key) => this.layers[key]) : [])];
  }

  async load() {
    const turn = ++this.turn;
    one("#loading").hidden = false;
    const fetched = async (layer) => {
      if (this.bitmaps[layer]) return;
      try {
        const bitmap = await createImageBitmap(await blob(this.url(layer, { side: BASE_SIDE })));
        if (turn === this.turn) this.bitmaps[layer] = bitmap;
      } catch (error) {
        if (turn === this.turn && layer === "image") tell(error.message);
        if (turn === this.turn && layer !== "image") this.lost(layer, error.message);
      }
    };
    await Promise.all(this.wanted().map(fetched));
    if (turn !== this.turn) return;
    one("#loading").hidden = true;
    this.draw();
    this.later();
  }

  lost(layer, sentence) {
    const told = one(`[data-lost="${layer}"]`, this.side);
    if (told) told.textContent = sentence;
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.loadDetail(), 250);
  }

  async loadDetail() {
    if (!this.dialog.open || !this.bitmaps.image) return;
    const [rows, columns] = this.size;
    const base = this.bitmaps.image.width / columns;
    if (base >= 1 || this.scale * devicePixelRatio <= base * 1.2) {
      this.detail = null;
      return;
    }
    const { width, height } = this.canvas;
    const ratio = this.scale * devicePixelRatio;
    const left = Math.max(0, Math.floor(-this.left / this.scale));
    const top = Math.max(0, Math.floor(-this.top / this.scale));
    const region = { top, left, height: Math.min(rows - top, Math.ceil(height / ratio) + 1), width: Math.min(columns - left, Math.ceil(width / ratio) + 1) };
    if (region.height < 1 || region.width < 1) return;
    const turn = this.turn;
    const layers = this.wanted().filter((layer) => layer !== "count-map");
    try {
      const pictures = await Promise.all(
        layers.map(async (layer) => [layer, await createImageBitmap(await blob(this.url(layer, { ...region, side: DETAIL_SIDE })))]),
      );
      if (turn !== this.turn) return;
      this.detail = { region, bitmaps: Object.fromEntries(pictures) };
      this.draw();
    } catch {
      // the whole picture is shown still
    }
  }

  // Where things are: image pixels to the canvas's, and back.

  resized() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || !this.size) return;
    const fitted = this.fitted;
    this.canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.canvas.height = Math.round(clientHeight * devicePixelRatio);
    if (fitted) this.fit();
    else this.draw();
  }

  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    const [rows, columns] = this.size;
    this.scale = Math.min(clientWidth / columns, clientHeight / rows) * 0.98 || 1;
    this.left = (clientWidth - columns * this.scale) / 2;
    this.top = (clientHeight - rows * this.scale) / 2;
    this.fitted = true;
    this.draw();
    this.later();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const scale = Math.min(40, Math.max(0.005, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
    this.later();
  }

  move(x, y) {
    this.left += x;
    this.top += y;
    this.fitted = false;
    this.draw();
    this.later();
  }

  at(x, y) {
    return [(y - this.top) / this.scale, (x - this.left) / this.scale];
  }

  draw() {
    const context = this.canvas.getContext("2d");
    const ratio = devicePixelRatio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    if (!this.size) return;
    context.translate(this.left, this.top);
    context.scale(this.scale, this.scale);
    const [rows, columns] = this.size;
    context.imageSmoothingEnabled = this.scale * ratio < 3;
    const drawn = (layer) => {
      const detail = this.detail?.bitmaps[layer];
      const { top, left, height, width } = this.detail?.region ?? {};
      context.save();
      if (detail) {
        const around = new Path2D();
        around.rect(0, 0, columns, rows);
        around.rect(left, top, width, height);
        context.clip(around, "evenodd");
      }
      if (this.bitmaps[layer]) context.drawImage(this.bitmaps[layer], 0, 0, columns, rows);
      context.restore();
      if (detail) context.drawImage(detail, left, top, width, height);
    };
    drawn("image");
    context.globalAlpha = this.opacity;
    if (this.counted()) {
      if (this.layers["count-map"]) drawn("count-map");
      context.globalAlpha = this.opacity * 0.6;
      if (this.layers.mask) drawn("mask");
      context.globalAlpha = this.opacity;
      if (this.layers.outlines) drawn("outlines");
    }
    context.globalAlpha = 1;
    this.drawRegion(context);
    if (this.tool === "correct") this.drawMarks(context);
    if (document.activeElement === this.canvas && this.tool !== "move") this.drawCross(context);
  }

  drawRegion(context) {
    if (!this.vertices?.length) return;
    context.beginPath();
    for (const [row, column] of this.vertices) context.lineTo(column, row);
    if (this.region) context.closePath();
    context.lineWidth = 2 / this.scale;
    context.strokeStyle = "#ffe14d";
    context.fillStyle = "rgba(255, 225, 77, 0.15)";
    context.fill();
    context.stroke();
    context.fillStyle = "#ffe14d";
    for (const [row, column] of this.vertices) {
      context.beginPath();
      context.arc(column, row, 4 / this.scale, 0, 2 * Math.PI);
      context.fill();
    }
  }

  drawMarks(context) {
    const radius = 5 / this.scale;
    context.lineWidth = 1.5 / this.scale;
    for (const { row, column, added } of this.marks.get(this.key) || []) {
      context.beginPath();
      context.arc(column, row, radius, 0, 2 * Math.PI);
      context.fillStyle = added ? "#3ddc84" : "#ffe14d";
      context.strokeStyle = "#000";
      context.fill();
      context.stroke();
    }
  }

  drawCross(context) {
    const [row, column] = this.at(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
    const arm = 12 / this.scale;
    for (const [style, width] of [["#000", 4], ["#fff", 2]]) {
      context.beginPath();
      context.moveTo(column - arm, row);
      context.lineTo(column + arm, row);
      context.moveTo(column, row - arm);
      context.lineTo(column, row + arm);
      context.strokeStyle = style;
      context.lineWidth = width / this.scale;
      context.stroke();
    }
  }

  // What hands do.

  listen() {
    const canvas = this.canvas;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * 0.0015), ...place(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, place(event));
      this.moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const now = place(event);
      if (this.pointers.size === 2) this.pinch(event.pointerId, before, now);
      else {
        this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
        if (this.moved > 4) this.move(now[0] - before[0], now[1] - before[1]);
      }
      this.pointers.set(event.pointerId, now);
    });
    const up = (event) => {
      const there = this.pointers.delete(event.pointerId);
      if (there && event.type === "pointerup" && this.pointers.size === 0 && this.moved <= 4) this.act(...place(event));
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("dblclick", () => this.tool === "region" && this.closeRegion());
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
    canvas.addEventListener("keydown", (event) => this.key_(event));
  }

  pinch(moving, before, now) {
    const [, other] = [...this.pointers].find(([id]) => id !== moving);
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
    this.moved = 99;
    if (apart(before) > 0) this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  key_(event) {
    const middle = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    const step = event.shiftKey ? STEP / 6 : STEP;
    const done = {
      ArrowLeft: () => this.move(step, 0),
      ArrowRight: () => this.move(-step, 0),
      ArrowUp: () => this.move(0, step),
      ArrowDown: () => this.move(0, -step),
      "+": () => this.zoom(1.25),
      "=": () => this.zoom(1.25),
      "-": () => this.zoom(0.8),
      0: () => this.fit(),
      Enter: () => this.act(...middle),
      " ": () => this.act(...middle),
      c: () => this.tool === "region" && this.closeRegion(),
    }[event.key];
    if (!done || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    done();
  }

  act(x, y) {
    const [row, column] = this.at(x, y);
    const [rows, columns] = this.size;
    if (this.tool === "region") {
      const first = this.vertices[0];
      if (this.region) {
        this.vertices = [];
        this.region = null;
      } else if (first && this.vertices.length > 2 && Math.hypot(first[0] - row, first[1] - column) * this.scale < NEAR) {
        this.closeRegion();
        return;
      }
      this.vertices.push([row, column]);
      this.panelRegion();
    } else if (this.tool === "correct" && row >= 0 && column >= 0 && row <= rows && column <= columns) {
      const marks = this.marks.get(this.key);
      if (!marks) return; // they are not there yet
      const distances = marks.map((mark) => Math.hypot(mark.row - row, mark.column - column) * this.scale);
      const nearest = distances.indexOf(Math.min(...distances));
      if (marks.length && distances[nearest] < NEAR) marks.splice(nearest, 1);
      else marks.push({ row, column, added: true });
      this.corrected();
    }
    this.draw();
  }

  async closeRegion() {
    if (this.vertices.length < 3 || this.region) return;
    this.region = {};
    this.draw();
    try {
      this.region = await post(placed(this.job(), this.row.number, this.row, "region"), { vertices: this.vertices });
    } catch (error) {
      this.region = { error: error.message };
    }
    this.panelRegion();
  }

  async centres() {
    const key = this.key;
    await this.saving;
    try {
      this.learnMarks(key, await get(placed(this.job(), this.row.number, this.row, "cells")));
    } catch {
      this.learnMarks(key, { cells: [], corrected: false });
    }
    if (key !== this.key) return;
    this.corrected(false);
    this.draw();
  }

  learnMarks(key, { cells, corrected }) {
    this.marks.set(key, cells);
    if (corrected) this.own.add(key);
    else this.own.delete(key);
  }

  // What was clicked is kept by the server, so that it is there when the page is opened again.
  async keep(cells) {
    const [key, row] = [this.key, this.row];
    this.saving = (this.saving ?? Promise.resolve()).then(async () => {
      try {
        const found = await put(placed(this.job(), row.number, row, "cells"), { cells });
        if (!cells) this.learnMarks(key, found);
        else this.own.add(key);
      } catch (error) {
        tell(error.message);
      }
    });
    await this.saving;
  }

  async beginAgain() {
    await this.keep(null);
    if (this.countable()) await this.count({ [this.row.number]: null });
    this.panelRegion();
    this.draw();
  }

  corrected(changed = true) {
    const number = (this.marks.get(this.key) || []).length;
    const told = one("#marked", this.side);
    if (told) told.textContent = `${grouped(number)} cells are marked.`;
    const again = one("#begin-again", this.side);
    if (again) again.hidden = !changed && !this.own.has(this.key);
    if (changed) this.keep([...this.marks.get(this.key)]);
    if (changed && this.countable()) this.count({ [this.row.number]: number });
    const input = one("#own-count", this.side);
    if (input && changed) input.value = number;
  }

  countable() {
    return this.table.planesOf(this.row.number).length === 1;
  }

  // What stands beside the image.

  panel() {
    const row = this.row;
    const facts = [`${row.width} × ${row.height} pixels`];
    if (row.channel) facts.push(`channel ${row.channel}`);
    facts.push(`scale ${row.scale}`);
    if (this.facts) facts.push(this.facts.kind);
    const parts = [
      make(
        "div",
        { class: "found" },
        make("b", { class: "large" }, row.count === null ? `${row.objects} objects` : grouped(row.count)),
        make("span", {}, interval(row) ? `90 % interval ${interval(row)}` : "no interval"),
        make("span", { class: "soft small" }, row.count !== null && row.objects !== null
          ? `${grouped(row.objects)} outlines: touching cells may share one, and an odd one may be two`
          : ""),
        make("span", { class: "soft small" }, facts.join(" · ")),
      ),
      make("div", { class: "flags" }, ...row.flags.map((flag) => flagDetails(flag, this.words)), row.unlike ? make("span", { class: "soft small" }, row.unlike) : null),
      this.panelLayers(),
      this.panelPlanes(),
      this.panelTools(),
      this.panelHow(),
    ];
    this.side.replaceChildren(...parts.filter(Boolean));
    this.panelRegion();
  }

  panelLayers() {
    return make(
      "fieldset",
      {},
      make("legend", {}, "Show"),
      ...LAYERS.map(({ key, heading }) =>
        make(
          "label",
          { class: "inline" },
          make("input", {
            type: "checkbox",
            checked: this.layers[key],
            "data-layer": key,
            onchange: (event) => {
              this.layers[key] = event.target.checked;
              this.detail = null;
              this.load();
            },
          }),
          heading,
          make("span", { class: "soft small", "data-lost": key }),
        ),
      ),
      make(
        "label",
        { class: "inline" },
        "Opacity",
        make("input", {
          type: "range",
          min: "0",
          max: "1",
          step: "0.05",
          value: String(this.opacity),
          oninput: (event) => {
            this.opacity = Number(event.target.value);
            this.draw();
          },
        }),
      ),
    );
  }

  panelPlanes() {
    const scene = this.facts?.scenes[this.place.scene - 1];
    if (!scene) return null;
    const choose = (heading, values, value, change) =>
      values.length < 2
        ? null
        : make(
            "label",
            { class: "inline" },
            heading,
            make(
              "select",
              { "aria-label": heading, onchange: (event) => change(event.target.value) },
              ...values.map((each) => make("option", { value: String(each), selected: String(each) === String(value) }, String(each))),
            ),
          );
    const numbers = (most) => Array.from({ length: most }, (_, k) => k + 1);
    const changed = (axis) => (value) => {
      this.place[axis] = axis === "z" && !/^\d+$/.test(value) ? value : Number(value);
      this.bitmaps = {};
      this.detail = null;
      this.load();
    };
    const channels = ["as counted", ...scene.channels];
    const parts = [
      choose("Scene", numbers(this.facts.scenes.length), this.place.scene, changed("scene")),
      choose("Time", numbers(scene.times), this.place.t, changed("t")),
      scene.depths > 1 ? choose("Focal plane", ["max", "mean", ...numbers(scene.depths)], this.place.z, changed("z")) : null,
      scene.channels.length > 1
        ? choose("Channel", channels, this.channel || channels[0], (value) => {
            this.channel = value === channels[0] ? "" : value;
            delete this.bitmaps.image;
            this.detail = null;
            this.load();
          })
        : null,
    ].filter(Boolean);
    return parts.length ? make("fieldset", {}, make("legend", {}, "Plane to look at"), ...parts) : null;
  }

  panelTools() {
    const tools = [["move", "Move"], ["region", "Draw a region"], ["correct", "Add or remove cells"]];
    return make(
      "fieldset",
      {},
      make("legend", {}, "Click to"),
      ...tools.map(([key, heading]) =>
        make(
          "label",
          { class: "inline" },
          make("input", {
            type: "radio",
            name: "tool",
            value: key,
            checked: this.tool === key,
            onchange: () => {
              this.tool = key;
              this.vertices = [];
              this.region = null;
              this.panelRegion();
              this.draw();
              if (key === "correct") this.centres();
            },
          }),
          heading,
        ),
      ),
      make("div", { id: "told", role: "status" }),
    );
  }

  panelRegion() {
    const told = one("#told", this.side);
    if (!told) return;
    if (this.tool === "region") {
      const region = this.region;
      let said = "Click the corners of a region; click the first again to close it.";
      if (region?.error) said = region.error;
      else if (region?.pixels !== undefined) {
        const parts = [];
        if (region.count !== null) parts.push(`${region.count.toFixed(1)} cells`);
        if (region.objects !== null) parts.push(`${grouped(region.objects)} outlines`);
        said = `In the region: ${parts.join(", ") || "no count map"}, ${grouped(region.pixels)} pixels.`;
      }
      told.replaceChildren(
        make("p", { id: "region-told" }, said),
        this.vertices.length > 2 && !region
          ? make("button", { type: "button", id: "close-region", onclick: () => this.closeRegion() }, "Close the region")
          : "",
      );
    } else if (this.tool === "correct") {
      const own = this.table.own.get(this.row.number);
      told.replaceChildren(
        make("p", {}, "Click where a cell was missed to add it, and on a dot to remove it. Their number is your count."),
        make("p", { id: "marked" }, ""),
        this.countable()
          ? make("label", { class: "inline" }, "Counted by eye ", make("input", {
              id: "own-count",
              type: "text",
              inputmode: "decimal",
              value: String(own ?? ""),
              onchange: (event) => this.table.typed(this.row.number, event.target),
            }))
          : make("p", { class: "soft" }, "Choose one plane in the view to count this image by eye."),
        make("button", { type: "button", id: "begin-again", hidden: true, onclick: () => this.beginAgain() }, "Begin again from the outlines"),
      );
      if (this.marks.has(this.key)) this.corrected(false);
    } else told.replaceChildren();
  }

  panelHow() {
    const form = howForm(this.models, { withModel: false });
    form.set(this.recount.viewOf(this.row.number));
    return make(
      "details",
      { class: "again" },
      make("summary", {}, "Count this image another way"),
      form.element,
      make(
        "p",
        { class: "buttons" },
        make("button", { type: "button", class: "primary", id: "recount-one", onclick: async () => {
          const { view, diameter } = form.read();
          if (await this.recount.one(this.row.number, view, diameter)) this.dialog.close();
        } }, "Count this image again"),
      ),
    );
  }
}
