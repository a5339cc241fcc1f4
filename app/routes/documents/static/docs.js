// The page at /docs: the reference of /openapi.json with a form to try it, and the pages of /llms.txt.

import { markdown } from "/docs/markdown.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const key = document.getElementById("key");

function element([tag, attributes, ...children]) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null) made.setAttribute(name, value);
  }
  for (const child of children) made.append(typeof child === "string" ? child : Array.isArray(child) ? element(child) : child);
  return made;
}

async function text(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} answers ${answer.status}`);
  return answer.text();
}

let contract;
const load = async () => (contract ??= JSON.parse(await text("/openapi.json")));
const named = (schema) => schema?.$ref?.split("/").pop();
const follow = (schema) => (schema?.$ref ? contract.components.schemas[named(schema)] : schema);

function kind(schema) {
  const found = schema ?? {};
  if (found.$ref) return named(found);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((one) => JSON.stringify(one)).join(", ");
  if (found.anyOf) return [...new Set(found.anyOf.map(kind))].join(" or ");
  const type = [found.type ?? "anything"].flat().filter((one) => one !== "null").join(" or ");
  const low = found.minimum ?? null, high = found.maximum ?? null;
  const range = low === null && high === null ? "" : high === null || high > 2 ** 53 ? `, at least ${low}` : `, ${low} to ${high}`;
  return type === "array" ? `list of ${kind(found.items)}` : type + range;
}

const table = (head, rows) => ["div", { class: "wide", tabindex: "0" }, ["table", {}, ["thead", {}, ["tr", {}, ...head.map((one) => ["th", {}, one])]],
  ["tbody", {}, ...rows.map((row) => ["tr", {}, ...row.map((cell) => ["td", {}, cell])])]]];
const prose = (words) => ["span", {}, ...(markdown(words ?? "")[0] ?? ["p", {}]).slice(2)];

function fields(schema) {
  const whole = follow(schema) ?? {};
  const rows = Object.entries(whole.properties ?? {}).map(([name, one]) => [
    ["code", {}, name + (whole.required?.includes(name) ? " *" : "")], kind(one), prose(one.description)]);
  return rows.length ? [table(["field", "what", ""], rows)] : [];
}

function form(method, path, operation) {
  if (!(path in contract.paths) || path.includes("{") || path.startsWith("/admin/")) return [];
  const body = operation.requestBody?.content["application/json"];
  const examples = Object.values(body?.examples ?? {});
  const sent = element(["textarea", { "aria-label": "Body", spellcheck: "false" }, JSON.stringify(examples[0]?.value ?? {}, null, 2)]);
  const out = element(["pre", { "aria-live": "polite", tabindex: "0" }]);
  const choose = ["select", { "aria-label": "Example", onchange: (event) => { sent.value = JSON.stringify(examples[event.target.value].value, null, 2); } },
    ...examples.map((one, at) => ["option", { value: String(at) }, one.summary])];
  const send = async () => {
    out.textContent = "…";
    const headers = key.value ? { authorization: `Bearer ${key.value}` } : {};
    if (body) headers["content-type"] = "application/json";
    try {
      const answer = await fetch(`/docs/try${path}`, { method, headers, body: body ? sent.value : undefined });
      const shown = [...answer.headers].filter(([name]) => /^(x-|retry|age)/.test(name)).map(([name, value]) => `${name}: ${value}`);
      out.textContent = `${answer.status}\n${shown.join("\n")}\n\n`;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) out.append(piece.value);
    } catch (error) { out.textContent = String(error); }
  };
  return [["h4", {}, "Try it"], ...(examples.length > 1 ? [choose] : []), ...(body ? [sent] : []),
    ["p", {}, ["button", { type: "button", onclick: send }, `${method} ${path}`]], out];
}

function operationOf(path, name, operation) {
  const method = name.toUpperCase();
  const replies = Object.entries(operation.responses).map(([status, reply]) => {
    const found = reply.$ref ? contract.components.responses[status] : reply;
    return [status, prose(found.description), Object.values(found.content ?? {}).map((one) => kind(one.schema)).join(", ")];
  });
  const body = operation.requestBody?.content["application/json"].schema;
  return ["details", { id: operation.operationId }, ["summary", {}, ["span", { class: "method" }, method], ["code", {}, path], ` ${operation.summary}`],
    ["p", {}, prose(operation.description)], ...(body ? [["h4", {}, "Body"], ...fields(body)] : []),
    ["h4", {}, "Answers"], table(["status", "when", "body"], replies), ...form(method, path, operation)];
}

async function reference() {
  await load();
  const groups = new Map();
  for (const [path, methods] of Object.entries(contract.paths))
    for (const [name, operation] of Object.entries(methods))
      groups.set(operation.tags[0], [...(groups.get(operation.tags[0]) ?? []), operationOf(path, name, operation)]);
  return [["h1", {}, "Reference"], ["p", {}, prose(contract.info.description)],
    ["p", {}, "As ", ["a", { href: "/openapi.json" }, "OpenAPI 3.1"], ". To try a call, put a key into the field above; it stays in this tab."],
    ...[...groups].flatMap(([tag, list]) => [["h2", {}, tag], ...list])];
}

async function show() {
  const [page, anchor] = decodeURIComponent(location.hash.slice(1)).split("/");
  let tree;
  try {
    tree = /^[A-Za-z0-9-]+$/.test(page) ? markdown(await text(`/docs/${page}.md`)) : await reference();
    if (page) tree.push(["p", {}, ["a", { href: `/docs/${page}.md` }, "This page as Markdown"]]);
  } catch (error) { tree = [["p", { class: "bad" }, String(error)]]; }
  main.replaceChildren(...tree.map(element));
  for (const link of nav.querySelectorAll("a")) link.hash === `#${page}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  document.getElementById(anchor ?? "")?.scrollIntoView();
  document.title = `Headgate: ${main.querySelector("h1")?.textContent ?? "documents"}`;
}

async function contents() {
  const made = [["h2", {}, "API"], ["a", { href: "#" }, "Reference, and try it"]];
  for (const line of (await text("/llms.txt")).split("\n")) {
    const heading = line.match(/^## (.*)/), link = line.match(/^- \[([^\]]+)\]\(\/docs\/([A-Za-z0-9-]+)\.md\)/);
    if (heading) made.push(["h2", {}, heading[1]]);
    else if (link) made.push(["a", { href: `#${link[2]}` }, link[1]]);
  }
  nav.replaceChildren(...made.map(element));
}

addEventListener("hashchange", show);
contents().then(show, show);
