"use strict";
// A table of class "sortable" sorts by a click on its head; the controls before it show some of its rows.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const value = (row, k) => {
    const cell = row.cells[k];
    const number = parseFloat(cell.dataset.sort);
    return Number.isNaN(number) ? cell.textContent.trim() : number;
  };
  const compared = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b
      : typeof a === "number" ? -1 : typeof b === "number" ? 1 : a.localeCompare(b, undefined, { numeric: true });
  Array.from(table.tHead.rows[0].cells).forEach((head, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "descending" : "ascending");
      rows.sort((a, b) => (up ? -1 : 1) * compared(value(a, k), value(b, k)));
      body.append(...rows);
    });
  });
  const controls = document.getElementById(table.dataset.controls);
  const [name, flagged] = controls.querySelectorAll("input");
  const shown = controls.querySelector("output");
  const filter = () => {
    const wanted = name.value.toLowerCase();
    let number = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted) || (flagged.checked && !("flagged" in row.dataset));
      number += !row.hidden;
    }
    shown.textContent = number === rows.length ? "" : `${number} of ${rows.length} shown`;
  };
  name.addEventListener("input", filter);
  flagged.addEventListener("change", filter);
  controls.hidden = false;
}
