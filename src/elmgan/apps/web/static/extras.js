// What the download has beside the usual: each cell measured, files for other programs, the cells in regions.

import { one, tell } from "./dom.js";
import { sendFiles } from "./api.js";

export class Extras {
  constructor({ job, taken }) {
    Object.assign(this, { job, taken });
    one("#choose-regions").onclick = () => one("#regions").click();
    one("#regions").onchange = (event) => this.send(event.target);
  }

  draw(status, masks) {
    for (const box of this.boxes()) box.disabled = !masks;
    one("#regions-told").textContent = status.regions.length
      ? `regions.csv will be of ${status.regions.join(", ")}.`
      : "GeoJSON of QuPath, ROIs of ImageJ, or label images. One file is for all images, several are each for the image of its name.";
  }

  boxes() {
    return [one("#measure"), ...document.querySelectorAll("[name=export]")];
  }

  read() {
    const chosen = (box) => box.checked && !box.disabled;
    const [measure, ...exports] = this.boxes();
    return { measure: chosen(measure), exports: exports.filter(chosen).map((box) => box.value) };
  }

  async send(input) {
    const files = [...input.files];
    input.value = "";
    if (!files.length) return;
    try {
      const { notes } = await sendFiles(`/api/jobs/${this.job()}/regions`, "regions", files);
      tell("");
      this.taken(notes);
    } catch (error) {
      tell(error.message);
    }
  }
}
