// The server's API. The session is a number that nobody can guess; it lives as long as this tab. There are no cookies.

function kept(name, otherwise) {
  const value = sessionStorage.getItem(name) || otherwise();
  if (value) sessionStorage.setItem(name, value);
  return value;
}

function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem("elmgan-token", given);
  history.replaceState(null, "", location.pathname);
}
const headers = { "X-Elmgan-Session": kept("elmgan-session", random) };
const token = kept("elmgan-token", () => "");
if (token) headers["X-Elmgan-Token"] = token;

async function answered(response) {
  if (response.ok) return response;
  let sentence = `the server answered ${response.status}`;
  try {
    sentence = (await response.json()).error || sentence;
  } catch {
    // it is no JSON
  }
  const error = new Error(sentence);
  error.status = response.status;
  throw error;
}

async function ask(method, path, body) {
  const options = { method, headers: { ...headers } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer: is elmgan serve still running?");
  }
  return answered(response);
}

export const get = async (path) => (await ask("GET", path)).json();
export const post = async (path, body) => (await ask("POST", path, body ?? {})).json();
export const put = async (path, body) => (await ask("PUT", path, body)).json();
export const blob = async (path) => (await ask("GET", path)).blob();

export function upload(files, fields, progress) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  for (const { file, path } of files) form.append("images", file, path);
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => progress(event.loaded, event.total);
    request.onerror = () => reject(new Error("the upload broke off: the server refused it or does not answer"));
    request.onabort = () => reject(new Error("the upload was cancelled"));
    request.onload = () => {
      let body = {};
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // it is no JSON
      }
      if (request.status < 300) resolve(body);
      else reject(new Error(body.error || `the server answered ${request.status}`));
    };
  });
  request.open("POST", "/api/count");
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  request.send(form);
  return { done, cancel: () => request.abort() };
}

export async function sendFiles(path, field, files) {
  const form = new FormData();
  for (const file of files) form.append(field, file, file.name);
  return (await answered(await fetch(path, { method: "POST", headers, body: form }))).json();
}

export async function download(job, part, more = {}) {
  const { href } = await post(`/api/jobs/${job}/download`, { part, ...more });
  const link = document.createElement("a");
  link.href = href;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
}

export function placed(job, number, row, what, more = {}) {
  const query = new URLSearchParams({ scene: row.scene, t: row.t, z: row.z });
  for (const [name, value] of Object.entries(more)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  return `/api/jobs/${job}/images/${number}/${what}?${query}`;
}
