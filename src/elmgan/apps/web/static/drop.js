// Files and folders that are dropped or chosen, with the folders that they lie in.

import { one } from "./dom.js";

async function within(entry, path, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, path: path + file.name });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return;
    for (const each of entries) await within(each, `${path}${entry.name}/`, found);
  }
}

const given = (list) => [...list].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

async function dropped(event) {
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return given(event.dataTransfer.files);
  const found = [];
  for (const entry of entries) await within(entry, "", found);
  return found;
}

export function takeFiles(take, failed) {
  const zone = one("#drop");
  for (const id of ["files", "folder"]) {
    one(`#${id}`).addEventListener("change", (event) => {
      const files = given(event.target.files);
      event.target.value = "";
      if (files.length) take(files);
    });
  }
  one("#choose-files").onclick = () => one("#files").click();
  one("#choose-folder").onclick = () => one("#folder").click();
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    try {
      const files = await dropped(event);
      if (files.length) take(files);
    } catch {
      failed("a folder that was dropped cannot be read: choose its images instead");
    }
  });
}
