// The description that the API gives of itself, as a page.

import { make, one } from "./dom.js";

const named = (reference) => reference.split("/").at(-1);

function typed(schema) {
  if (!schema) return "";
  if (schema.$ref) return named(schema.$ref);
  const several = schema.anyOf || schema.oneOf;
  if (several) return several.map(typed).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return schema.prefixItems ? `[${schema.prefixItems.map(typed).join(", ")}]` : `list of ${typed(schema.items)}`;
  if (schema.type === "object" && schema.additionalProperties) return `name -> ${typed(schema.additionalProperties)}`;
  return schema.format === "binary" ? "file" : schema.type || "";
}

function table(rows) {
  if (!rows.length) return null;
  return make(
    "table",
    {},
    make("tbody", {}, ...rows.map(([name, type, text]) =>
      make("tr", {}, make("th", { scope: "row" }, make("code", {}, name)), make("td", {}, type), make("td", {}, text || "")))),
  );
}

function operation(path, method, described) {
  const body = Object.values(described.requestBody?.content ?? {})[0]?.schema;
  const answer = Object.entries(described.responses).find(([status]) => status < 300);
  const gives = answer ? typed(Object.values(answer[1].content ?? {})[0]?.schema) || "a file" : "";
  const fields = Object.entries(body?.properties ?? {}).map(([name, schema]) => [name, typed(schema), schema.description]);
  const parameters = (described.parameters ?? [])
    .filter((each) => each.in !== "header")
    .map((each) => [each.name, `${typed(each.schema)}, in the ${each.in}`, each.description]);
  return make(
    "section",
    { class: "card" },
    make("h3", {}, make("span", { class: "method" }, method.toUpperCase()), make("code", {}, path)),
    make("p", {}, described.description || described.summary),
    table([...parameters, ...fields]),
    make("p", { class: "soft" }, [body?.$ref ? `Takes ${named(body.$ref)} as JSON. ` : "", answer?.[0] === "204" ? "Gives nothing." : `Gives ${gives}.`].join("")),
  );
}

async function main() {
  const described = await (await fetch("/openapi.json")).json();
  one("#example").textContent = [
    `# one answer with all rows; nothing is kept`,
    `curl -F images=@a.tif -F images=@b.tif -F wait=true ${location.origin}/api/count`,
    ``,
    `# a job, which is asked until it is done`,
    `curl -F images=@stack.nd2 -F channel=DAPI ${location.origin}/api/count`,
    `curl ${location.origin}/api/jobs/JOB`,
  ].join("\n");
  const operations = [];
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, each] of Object.entries(methods)) operations.push(operation(path, method, each));
  }
  one("#operations").replaceChildren(make("h2", {}, "Requests"), ...operations);
  const schemas = Object.entries(described.components.schemas).map(([name, schema]) =>
    make(
      "section",
      { class: "card" },
      make("h3", {}, name),
      make("p", {}, schema.description || ""),
      table(Object.entries(schema.properties ?? {}).map(([field, each]) => [field, typed(each), each.description])),
    ),
  );
  one("#schemas").replaceChildren(...schemas);
}

main();
