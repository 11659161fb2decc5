// The page: files go to the thread that counts, numbers and pictures come back. Names are only ever shown as text.

const one = (id) => document.getElementById(id);
const rules = JSON.parse(one("rules").textContent);
const COLUMNS = ["image", "channel", "count", "estimate", "low", "high", "objects", "foreground", "flags", "scale", "height", "width", "model"];
const DECIMALS = { estimate: 2, low: 2, high: 2, foreground: 4 };
const todo = [], rows = [], elements = new Map();
let thread = null, ready = false, busy = null, number = 0;

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  element.append(...children);
  return element;
}

function tell(sentence) {
  one("alert").textContent = sentence;
  one("alert").hidden = !sentence;
}

function begin() {
  ready = false;
  thread = new Worker(URL.createObjectURL(new Blob([one("worker").textContent], { type: "text/javascript" })));
  thread.onmessage = ({ data }) => answered(data);
  thread.onerror = () => answered({ kind: "failed", error: "the browser stopped the page's own script" });
  const parts = Object.fromEntries(["rules", "script", "wasm", "seeing", "network"].map((name) => [name, one(name).textContent]));
  thread.postMessage({ kind: "start", parts });
}

function restart() {
  thread.terminate();
  begin();
}

function answered(data) {
  if (data.id !== undefined && data.id !== busy?.id) return;  // of an image that was given up
  if (data.kind === "ready") {
    ready = true;
    one("choose").disabled = false;
    document.documentElement.dataset.ready = "yes";
    next();
  } else if (data.kind === "doing") {
    one("state").textContent = `${busy.file.name}: ${data.doing} …`;
  } else if (data.kind === "failed" && data.id === undefined) {
    one("state").textContent = "";
    tell(`This browser cannot run the page (${data.error}). Take a current Chrome, Edge, Firefox or Safari.`);
  } else {
    const { id, file } = busy;
    if (data.kind === "counted") show(id, file, data);
    else fail(id, file, data.told ?? `could not be counted (${data.error}): try a smaller image, or elmgan itself`);
    busy = null;
    if (data.kind === "failed" && !data.told) restart();  // the runtime may be out of memory for good
    next();
  }
}

function next() {
  if (ready && !busy && todo.length) {
    busy = todo.shift();
    thread.postMessage({ kind: "count", id: busy.id, file: busy.file, settings: busy.settings });
  }
  const left = todo.length + (busy ? 1 : 0);
  one("stop").hidden = !left;
  if (ready && !left) one("state").textContent = rows.length ? "Done." : "Ready.";
  document.documentElement.dataset.left = left;
}

function settings() {
  const way = one("scale").value, size = Number(one("size").value);
  const scale = way === "auto" ? "auto" : way === "factor" ? size : rules.diameter / size;
  if (scale !== "auto" && !(scale >= rules.scales[0] && scale <= rules.scales[1])) {
    throw new Error(way === "factor" ? `The factor is ${size}; expected ${rules.scales[0]} to ${rules.scales[1]}.`
      : `Cells of ${size} pixels; expected ${Math.ceil(rules.diameter / rules.scales[1])} to ${Math.floor(rules.diameter / rules.scales[0])}.`);
  }
  const channel = one("channel").value;
  return { scale: scale === "auto" ? scale : Math.round(1e4 * scale) / 1e4, channel: Number(channel) || channel };
}

function add(files) {
  let chosen;
  try {
    chosen = settings();
    tell("");
  } catch (error) { return tell(error.message); }
  for (const file of files) todo.push({ id: ++number, file, settings: chosen });
  next();
}

function show(id, file, { row, picture, outlines, border }) {
  rows.push({ ...row, model: rules.version });
  const interval = row.low === null ? "none" : `${Math.floor(row.low)} to ${Math.ceil(row.high)}`;
  const count = row.count === null ? `${row.objects} objects` : `${row.count} cells`;
  one("rows").append(make("tr", {}, make("th", { scope: "row", textContent: file.name, title: file.name }),
    make("td", {}, make("b", { textContent: row.count ?? "" })), make("td", { textContent: interval }), make("td", { textContent: row.objects ?? "" }),
    make("td", { textContent: row.scale }), make("td", { textContent: row.flags.join(", ") })));
  const notes = row.flags.map((flag) => `${flag}: ${rules.advice[flag]}`);
  if (border) notes.push("The image's border has one value for long. If that is a margin without data, cut it off: it is not left out here.");
  if (row.channel === "haematoxylin") notes.push("It was taken for a stained slide: haematoxylin was counted.");
  const stage = make("div", { className: "stage", tabIndex: 0 });
  stage.append(make("img", { src: URL.createObjectURL(picture), alt: `${file.name}, ${count}` }));
  const view = make("div", { className: "view" });
  if (outlines) {
    const over = make("img", { src: URL.createObjectURL(outlines), className: "over", alt: "" });
    stage.append(over);
    const box = make("input", { type: "checkbox", checked: true, onchange: () => { over.hidden = !box.checked; } });
    view.append(make("label", {}, box, "outlines"));
  }
  const large = make("input", { type: "checkbox", onchange: () => stage.classList.toggle("large", large.checked) });
  view.append(make("label", {}, large, "full size"));
  const caption = make("figcaption", {}, make("b", { textContent: count }), interval === "none" ? ", no interval: " : `, 90 % interval ${interval}: `, file.name);
  if (notes.length) caption.append(make("ul", { className: "notes" }, ...notes.map((note) => make("li", { textContent: note }))));
  one("pictures").prepend(make("figure", { className: "card" }, caption, stage, view));
  told();
}

function fail(id, file, sentence) {
  rows.push({ image: file.name, error: sentence });
  one("rows").append(make("tr", { className: "failed" }, make("th", { scope: "row", textContent: file.name, title: file.name }),
    make("td", { className: "told", colSpan: 5, textContent: `Not counted: it ${sentence}.` })));
  told();
}

function told() {
  one("results").hidden = false;
  const counted = rows.filter((row) => !row.error), failed = rows.length - counted.length;
  one("number").textContent = `${counted.length} image${counted.length === 1 ? "" : "s"} counted${failed ? `, ${failed} not` : ""}`;
}

// ---- The table

function cellOf(row, column) {
  const value = row[column];
  if (value === null || value === undefined) return "";
  if (column === "flags") return value.join(";");
  const text = column in DECIMALS ? value.toFixed(DECIMALS[column]) : String(value);
  // A spreadsheet would take these for a formula.
  return /^[=+\-@\t\r]/.test(text) && typeof value === "string" ? `'${text}` : text;
}

const tableOf = (separator, quoted) => [COLUMNS, ...rows.filter((row) => !row.error).map((row) => COLUMNS.map((column) => cellOf(row, column)))]
  .map((cells) => cells.map(quoted).join(separator)).join("\n") + "\n";

one("copy").onclick = async () => {
  const table = tableOf("\t", (text) => text.replace(/[\t\r\n]+/g, " "));
  try {
    await navigator.clipboard.writeText(table);
  } catch {  // of older browsers, or where a page from the disk may not
    const area = make("textarea", { value: table });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  one("copy").textContent = "Copied";
  setTimeout(() => { one("copy").textContent = "Copy table"; }, 1500);
};

one("save").onclick = () => {
  const table = tableOf(",", (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text));
  const link = make("a", { href: URL.createObjectURL(new Blob([table], { type: "text/csv" })), download: "counts.csv" });
  link.click();
};

// ---- What people do

one("choose").onclick = () => one("files").click();
one("files").onchange = () => { add([...one("files").files]); one("files").value = ""; };
one("stop").onclick = () => {
  todo.length = 0;
  busy = null;
  restart();
  one("state").textContent = "Stopped. Getting ready again …";
};
one("scale").onchange = () => {
  const way = one("scale").value;
  one("sized").hidden = way === "auto";
  one("unit").textContent = way === "factor" ? "Factor" : "Pixels across a cell";
  one("size").value = way === "factor" ? 1 : Math.round(rules.diameter);
};
const drop = one("drop");
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") add([...event.dataTransfer.files]);
  });
}
if (rules.view.scale !== "auto") {
  one("scale").value = "factor";
  one("scale").onchange();
  one("size").value = rules.view.factor;
}
if (rules.view.channel !== null) one("channel").value = rules.view.channel;
if ("DecompressionStream" in window && "OffscreenCanvas" in window) begin();
else answered({ kind: "failed", error: "it is too old" });
