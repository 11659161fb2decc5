// The form of model and view: which pixels are counted, and how they are shown to the network.

import { make, one } from "./dom.js";

const FIELDS = ["scene", "t", "z", "channel", "cells"];

export function howForm(models, { withModel = true } = {}) {
  const form = one("#how-form").content.cloneNode(true).firstElementChild;
  const field = (name) => one(`[name=${name}]`, form);
  one("[data-for=model]", form).hidden = !withModel;

  function sized() {
    for (const label of form.querySelectorAll("[data-size]")) label.hidden = label.dataset.size !== field("size").value;
  }

  function offer(list) {
    const before = field("model").value;
    field("model").replaceChildren(
      ...list.map((model) => make("option", { value: model.name }, told(model))),
    );
    if (list.some((model) => model.name === before)) field("model").value = before;
  }

  function set(view, model) {
    if (model) field("model").value = model;
    for (const name of FIELDS) {
      const value = view[name];
      const usual = { scene: "each", t: "each", z: "max", channel: null, cells: "auto" }[name];
      field(name).value = name === "cells" ? value : value === usual ? "" : String(value ?? "");
    }
    field("size").value = view.scale === "auto" ? "auto" : "scale";
    field("scale").value = view.scale === "auto" ? "" : view.scale;
    field("diameter").value = "";
    sized();
  }

  function read() {
    const view = {};
    for (const name of FIELDS) {
      const text = field(name).value.trim();
      if (text) view[name] = /^\d+$/.test(text) ? Number(text) : text;
    }
    const size = field("size").value;
    if (size === "scale" && field("scale").value) view.scale = Number(field("scale").value);
    const diameter = size === "diameter" && field("diameter").value ? Number(field("diameter").value) : null;
    return { model: withModel ? field("model").value : null, view, diameter };
  }

  field("size").addEventListener("change", sized);
  field("model").addEventListener("change", () => {
    const model = models().find((each) => each.name === field("model").value);
    if (model) set(model.view);
  });
  offer(models());
  return { element: form, set, read, offer };
}

function told(model) {
  const learned = model.counts ? (model.masks ? "" : ", counts alone") : ", masks alone";
  return `${model.name}${model.calibrated ? ", calibrated" : ""}${learned}`;
}

export function viewTold(view) {
  const parts = [];
  if (view.channel) parts.push(`channel ${view.channel}`);
  if (view.scale && view.scale !== "auto") parts.push(`scale ${view.scale}`);
  if (view.cells && view.cells !== "auto") parts.push(`${view.cells} cells`);
  if (view.z && view.z !== "max") parts.push(`z ${view.z}`);
  if (view.t && view.t !== "each") parts.push(`t ${view.t}`);
  if (view.scene && view.scene !== "each") parts.push(`scene ${view.scene}`);
  return parts.join(", ");
}
