// The API's description (OpenAPI 3.1), to be browsed and searched. Nothing is sent to the API from here.

import { byId, h, put } from "../lib/dom.js";

/** @typedef {Record<string, any>} Schema */

/** @type {any} */
let api;

/** Paragraphs, with what stands in backticks as code. @param {string | undefined} text */
function prose(text) {
  return (text ?? "").split(/\n{2,}/).filter(Boolean).map((part) => h("p", part.split(/(`[^`]+`)/).map((piece) => (piece.startsWith("`") && piece.endsWith("`") && piece.length > 2 ? h("code", piece.slice(1, -1)) : piece))));
}

/** @param {Schema} schema @returns {Schema} what a reference stands for */
function resolved(schema) {
  return schema.$ref ? (api.components.schemas[nameOf(schema.$ref)] ?? {}) : schema;
}

/** @param {string} ref */
function nameOf(ref) {
  return ref.slice(ref.lastIndexOf("/") + 1);
}

/** A type in a few words. @param {Schema} schema @returns {string} */
function typeOf(schema) {
  if (schema.$ref) return nameOf(schema.$ref);
  const of = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (of) return of.map(typeOf).join(schema.allOf ? " and " : " or ");
  if (schema.enum) return schema.enum.map((/** @type {any} */ v) => JSON.stringify(v)).join(" | ");
  const types = [schema.type ?? "any"].flat();
  const item = schema.items ? ` of ${typeOf(schema.items)}` : "";
  return types.map((t) => `${t}${t === "array" ? item : ""}`).join(" or ") + (schema.format ? ` (${schema.format})` : "");
}

/** The named schemas in a type. @param {Schema} schema @returns {string[]} */
function named(schema) {
  if (schema.$ref) return [nameOf(schema.$ref)];
  return [...(schema.oneOf ?? schema.anyOf ?? schema.allOf ?? []), ...(schema.items ? [schema.items] : []), ...(typeof schema.additionalProperties === "object" ? [schema.additionalProperties] : [])].flatMap(named);
}

/** A schema with its fields; what it names is drawn when it is opened. @param {Schema} schema @returns {any} */
function fields(schema) {
  const one = resolved(schema);
  const all = Object.entries(one.properties ?? {});
  const needed = new Set(one.required ?? []);
  return [
    prose(one.description),
    all.length ? h("ul.fields", all.map(([name, field]) => h("li",
      h("div.row", h("code", name), h("span.small.soft", typeOf(field)), needed.has(name) ? h("span.tag", "required") : null),
      prose(field.description), facts(field), named(field).map(opened)))) : [h("p.small.soft", typeOf(one)), facts(one), named(one).map(opened)],
  ].flat(Infinity);
}

/** @param {Schema} schema */
function facts(schema) {
  const said = ["default", "example", "minimum", "maximum", "maxLength", "pattern"].filter((k) => schema[k] !== undefined);
  return said.length ? h("p.small.soft", said.map((k) => `${k}: ${JSON.stringify(schema[k])}`).join(" · ")) : null;
}

/** @param {string} name */
function opened(name) {
  return lazily(h("code", name), () => fields({ $ref: `#/${name}` }));
}

/** Details that are made when they are opened. @param {any} summary @param {() => any} make */
function lazily(summary, make) {
  const body = h("div.inner");
  const details = h("details", h("summary", summary), body);
  details.addEventListener("toggle", () => details.open && !body.firstChild && put(body, make()));
  return details;
}

/** @param {Record<string, any> | undefined} content */
function bodies(content) {
  return Object.entries(content ?? {}).map(([kind, { schema }]) => [h("p.small", h("code", kind)), schema && kind.includes("json") ? fields(schema) : null]).flat(Infinity);
}

/** Who may call. @param {any} operation */
function credential(operation) {
  const names = (operation.security ?? []).flatMap((/** @type {any} */ s) => Object.keys(s));
  if (names.length === 0) return h("p.small", "No credential is needed.");
  return h("ul.small", names.map((/** @type {string} */ n) => h("li", prose(api.components.securitySchemes[n]?.description ?? n))));
}

/** @param {string} method @param {string} path @param {any} operation */
function curl(method, path, operation) {
  const asked = Object.keys(operation.requestBody?.content ?? {})[0];
  const lines = [`curl -s${method === "get" ? "" : ` -X ${method.toUpperCase()}`} "$API${path.replace(/\{(\w+)\}/g, (_, n) => `$${n.toUpperCase()}`)}"`];
  if (operation.security?.length) lines.push('-H "Authorization: Bearer $KEY"');
  if (asked) lines.push(`-H "Content-Type: ${asked}" --data-binary @${asked.includes("json") ? "body.json" : "FILE"}`);
  return h("pre", { tabindex: "0", "aria-label": "Command" }, h("code", lines.join(" \\\n  ")));
}

/** @param {string} method @param {string} path @param {any} operation */
function detail(method, path, operation) {
  const parameters = operation.parameters ?? [];
  return [
    prose(operation.summary), prose(operation.description),
    h("h3", "Credential"), credential(operation),
    parameters.length ? [h("h3", "Parameters"), h("ul.fields", parameters.map((/** @type {any} */ p) => h("li",
      h("div.row", h("code", p.name), h("span.small.soft", `in the ${p.in}, ${typeOf(p.schema ?? {})}`), p.required ? h("span.tag", "required") : null), prose(p.description), facts(p.schema ?? {}))))] : null,
    operation.requestBody ? [h("h3", "Body"), prose(operation.requestBody.description), bodies(operation.requestBody.content)] : null,
    h("h3", "Answers"),
    Object.entries(operation.responses ?? {}).map(([status, answer]) => {
      const name = [h(`span.tag.${status < "400" ? "good" : "warn"}`, status), " ", Object.keys(answer.content ?? {}).join(", ")];
      const full = answer.description || Object.keys(answer.content ?? {}).length;
      return full ? lazily(name, () => [prose(answer.description), bodies(answer.content)]) : h("p", name);
    }),
    curl(method, path, operation),
  ];
}

/** Every operation as it is listed, by tag. */
function listed() {
  /** @type {Map<string, { text: string, element: any }[]>} */
  const groups = new Map(api.tags.map((/** @type {any} */ t) => [t.name, []]));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(/** @type {Record<string, any>} */ (methods))) {
      const first = String(operation.summary ?? "").split(/(?<=\.)\s/)[0].replaceAll("`", "");
      const element = lazily([h("span.tag.mono", method.toUpperCase()), " ", h("code.path", path), " ", h("span.small.soft", first)], () => detail(method, path, operation));
      element.id = operation.operationId;
      element.classList.add("card", "operation");
      const tag = operation.tags?.[0] ?? "operation";
      groups.set(tag, [...(groups.get(tag) ?? []), { text: `${method} ${path} ${operation.operationId} ${operation.summary ?? ""}`.toLowerCase(), element }]);
    }
  }
  return groups;
}

function draw() {
  const groups = listed();
  const found = h("p.small.soft", { role: "status" });
  const find = h("input", { id: "find", type: "search", autocomplete: "off", spellcheck: "false", oninput: () => show(find.value.trim().toLowerCase()) });
  const sections = [...groups].map(([name, operations]) => ({ operations, element: h("section", { "aria-labelledby": `tag-${name}` },
    h("h2", { id: `tag-${name}` }, name), prose(api.tags.find((/** @type {any} */ t) => t.name === name)?.description), operations.map((o) => o.element)) }));
  const show = (/** @type {string} */ text) => {
    let count = 0;
    for (const { operations, element } of sections) {
      for (const o of operations) count += (o.element.hidden = !text.split(/\s+/).every((word) => o.text.includes(word))) ? 0 : 1;
      element.hidden = operations.every((o) => o.element.hidden);
    }
    put(found, `${count} operations`);
  };
  put(byId("main"), h("h1", `${api.info.title} API`), h("p.small.soft", `Version ${api.info.version}, OpenAPI ${api.openapi}`), prose(api.info.description),
    h("p", h("a", { href: "/openapi.json" }, "The document itself"), " · ", h("a", { href: "/docs#problems" }, "Problem types")),
    h("div", h("label", { for: "find" }, "Find an operation"), find, found), sections.map((s) => s.element));
  show("");
  const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (wanted instanceof HTMLDetailsElement) {
    wanted.open = true;
    wanted.scrollIntoView();
  }
}

try {
  api = await (await fetch("/openapi.json")).json();
  draw();
} catch (e) {
  byId("main").append(h("p.note.bad", { role: "alert" }, `The description can’t be read: ${e}`));
}
