// Counts by eye: how many there are, what a model fitted to them would be worth, and saving it.

import { download, post } from "./api.js";
import { make, many, one, tell } from "./dom.js";

export class OwnPanel {
  constructor({ job, fewest, saved, started }) {
    Object.assign(this, { job, fewest, saved, started });
    this.body = one("#own-body");
    this.told = one("#own-told");
    this.last = "";
  }

  draw(number, status, { force = false } = {}) {
    this.told.textContent = number ? many(number, "image") + " counted" : "fit the model to your microscope";
    const calibration = status?.calibration ?? null;
    const busy = ["waiting", "counting", "calibrating"].includes(status?.state);
    const now = JSON.stringify([number, busy, calibration, status?.model]);
    if (now === this.last && !force) return;
    this.last = now;
    const missing = Math.max(0, this.fewest - number);
    const said = missing
      ? `Count some images by eye and type the numbers in the table, or click the cells in an image. ` +
        `${number ? many(missing, "more count") : many(missing, "count")} ${missing === 1 ? "is" : "are"} needed.`
      : `${many(number, "image")} are counted: enough to fit the model.`;
    this.body.replaceChildren(
      make("p", {}, said),
      make("progress", { max: this.fewest, value: Math.min(number, this.fewest), "aria-label": "Counts by eye" }),
      make(
        "p",
        { class: "buttons" },
        make(
          "button",
          { type: "button", id: "calibrate", class: "primary", disabled: missing > 0 || busy, onclick: () => this.fit(false) },
          "Fit the model to my counts",
        ),
        make(
          "button",
          { type: "button", id: "data-set", disabled: number === 0, onclick: () => this.fetch("data-set") },
          "Save images and counts as a data set",
        ),
      ),
      ...this.result(calibration, busy),
    );
  }

  result(calibration, busy) {
    if (!calibration) return [];
    if (calibration.error) return [make("p", { class: "alert" }, calibration.error)];
    if (!calibration.before) {
      return [make("p", { role: "status" }, `Counting ${calibration.done} of ${calibration.total} images again …`)];
    }
    const { before, after } = calibration;
    const row = (heading, title, show) =>
      make(
        "tr",
        {},
        make("th", { scope: "row", class: "text" }, heading, make("span", { class: "soft small" }, title)),
        make("td", {}, show(before)),
        make("td", {}, show(after)),
      );
    const cells = (value) => value.toFixed(1);
    const signed = (value) => (Math.abs(value) < 0.05 ? "0.0" : (value > 0 ? "+" : "−") + Math.abs(value).toFixed(1));
    const share = (value) => (value === null ? "no interval" : `${(100 * value).toFixed(0)} %`);
    const width = (value) => (value === null ? "–" : value.toFixed(1));
    const table = make(
      "table",
      { id: "checks" },
      make("thead", {}, make("tr", {}, make("td"), make("th", { scope: "col" }, "before"), make("th", { scope: "col" }, "after"))),
      make(
        "tbody",
        {},
        row("Bias", "mean error in cells: + is too many", (check) => signed(check.bias)),
        row("Error", "mean absolute error in cells", (check) => cells(check.mae)),
        row("Inside the interval", "your counts; 90 % is meant", (check) => share(check.coverage)),
        row("Width of the interval", "in cells", (check) => width(check.width)),
      ),
    );
    const said = `${calibration.correction}; ${calibration.promise}.`;
    const parts = [table, make("p", { class: "soft small" }, `Each image is judged by a model that was fitted to the others. ${said.charAt(0).toUpperCase()}${said.slice(1)}`)];
    if (calibration.flagged) parts.push(make("p", { class: "alert" }, `${calibration.flagged}.`));
    if (calibration.doubts.length && !calibration.ready) {
      parts.push(
        make("p", { class: "alert" }, `${calibration.doubts.join("; ")}. Look at these counts again.`),
        make(
          "p",
          { class: "buttons" },
          make("button", { type: "button", disabled: busy, onclick: () => this.fit(true) }, "They are right: use them all the same"),
        ),
      );
    }
    if (calibration.saved) {
      parts.push(
        make(
          "p",
          { class: "buttons" },
          make("b", {}, `Saved as ${calibration.saved}.`),
          make("button", { type: "button", class: "primary", id: "count-with", onclick: () => this.saved(calibration.saved, true) }, "Count all with it"),
          make("button", { type: "button", onclick: () => this.fetch("model", calibration.saved) }, "Download the model"),
        ),
      );
    } else if (calibration.ready) {
      const name = make("input", { type: "text", id: "model-name", value: "my-microscope", maxlength: "60", "aria-label": "Name of the model" });
      parts.push(
        make(
          "form",
          {
            class: "buttons",
            onsubmit: (event) => {
              event.preventDefault();
              this.save(name.value.trim());
            },
          },
          make("label", { class: "inline" }, "Name ", name),
          make("button", { type: "submit", class: "primary", id: "save-model" }, "Save the fitted model"),
        ),
      );
    }
    return parts;
  }

  async fit(believe) {
    try {
      this.started(await post(`/api/jobs/${this.job()}/calibrate`, { believe }));
      tell("");
    } catch (error) {
      tell(error.message);
    }
  }

  async save(name) {
    try {
      await post(`/api/jobs/${this.job()}/model`, { name });
      tell("");
      this.saved(name, false);
    } catch (error) {
      tell(error.message);
    }
  }

  async fetch(part, model) {
    try {
      await download(this.job(), part, model ? { model } : {});
    } catch (error) {
      tell(error.message);
    }
  }
}
