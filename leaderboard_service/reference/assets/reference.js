// Draws the API's description from /openapi.json: every call with what it takes and answers, and a form to try it.

import { curlOf, requestOf, send } from "./console.js";
import { make } from "./make.js";
import { Schemas } from "./schema.js";

const LOCK = "needs a token";

/** Paragraphs of a description; what stands between backticks is code. */
function prose(text) {
  if (!text) return [];
  return text.split(/\n\s*\n/).map((paragraph) =>
    make(
      "p",
      "",
      paragraph.split("`").map((part, place) => (place % 2 ? make("code", "", part) : part.replaceAll("\n", " "))),
    ),
  );
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const code = (value) =>
  make("pre", "answer", pretty(value), { tabindex: "0", role: "region", "aria-label": "An answer" });

/** A table of cells that are texts or lists of nodes, without the columns that are empty everywhere. */
function table(caption, heads, rows) {
  if (rows.length === 0) return [];
  const used = heads.map((_, column) => rows.some((cells) => cells[column].length > 0));
  const line = (tag, cells, attributes) =>
    make(
      "tr",
      "",
      cells.filter((_, column) => used[column]).map((cell) => make(tag, "", cell, attributes)),
    );
  const head = line("th", heads, { scope: "col" });
  const body = rows.map((cells) => line("td", cells));
  const whole = make("table", "", [make("caption", "", caption), make("thead", "", [head]), make("tbody", "", body)]);
  return [make("div", "scroller", [whole], { tabindex: "0", role: "region", "aria-label": caption })];
}

class Operation {
  constructor(schemas, method, path, operation) {
    this.schemas = schemas;
    this.method = method.toUpperCase();
    this.path = path;
    this.operation = operation;
    this.parameters = operation.parameters ?? [];
    this.bodyContent = operation.requestBody?.content["application/json"];
    this.body = this.bodyContent?.schema;
    this.needsToken = Boolean(operation.security?.length);
    this.id = `${method}${path.replace(/[^a-z]+/gi, "-")}`.replace(/-$/, "");
  }

  /** The whole call, closed; its inside is drawn when it is opened for the first time. */
  draw() {
    const parts = [
      make("span", `verb ${this.method.toLowerCase()}`, this.method),
      make("code", "path", this.path),
      make("span", "gist quiet", this.operation.summary.replaceAll("`", "")),
    ];
    if (this.needsToken) parts.push(make("span", "lock", "", { role: "img", "aria-label": LOCK, title: LOCK }));
    const inside = make("div", "inside");
    const details = make("details", "call", [make("summary", "", parts), inside], { id: this.id });
    details.addEventListener("toggle", () => {
      if (details.open && !inside.hasChildNodes()) inside.append(...this.#inside());
    });
    return details;
  }

  #inside() {
    const { schemas } = this;
    const about = (schema) => [schemas.words(schema), schemas.limits(schema)].filter(Boolean).join("; ");
    const parameters = this.parameters.map(({ name, in: place, required, schema, description }) => [
      [make("code", "", name)],
      `${place}${required ? ", required" : ""}`,
      about(schema),
      prose(description ?? schema.description ?? ""),
    ]);
    const fields = (schema) =>
      schemas
        .fields(schema)
        .map(({ name, schema: part, required }) => [
          [make("code", "", name)],
          required ? "required" : "optional",
          about(part),
          prose(schemas.resolved(part).description ?? part.description ?? ""),
        ]);
    const answers = Object.entries(this.operation.responses).map(([status, answered]) => {
      const { description, content } = schemas.resolved(answered);
      const [[media, { schema }] = ["", {}]] = Object.entries(content ?? {});
      const shape = schema ? schemas.words(schema) : media;
      return [[make("code", "", status)], prose(description), shape];
    });
    const success = Object.entries(this.operation.responses).find(([status]) => status.startsWith("2"))?.[1];
    const content = Object.values(success?.content ?? {})[0];
    const answer = content?.schema;
    const example = schemas.recorded(content);
    // The description begins with the summary, which stands above already.
    const [, more = ""] = this.operation.description.split(/\n\s*\n([^]*)/);
    return [
      ...prose(more),
      ...table("Parameters", ["name", "where", "value", "meaning"], parameters),
      ...table("Body (JSON)", ["field", "presence", "value", "meaning"], this.body ? fields(this.body) : []),
      this.#form(),
      ...table("Answers", ["status", "meaning", "content"], answers),
      ...table("Fields of the answer", ["field", "presence", "value", "meaning"], answer ? fields(answer) : []),
      ...(example === undefined ? [] : [make("h3", "small", "An answer"), code(example)]),
    ];
  }

  #form() {
    const inputs = this.parameters.map((parameter) => this.#input(parameter));
    const parts = [make("h3", "", "Try it"), ...inputs];
    let body;
    if (this.body) {
      body = make("textarea", "field code", "", { rows: "6", spellcheck: "false", id: `${this.id}-body` });
      body.value = pretty(this.schemas.recorded(this.bodyContent) ?? this.schemas.example(this.body));
      parts.push(make("div", "", [make("label", "label", "Body", { for: body.id }), body]));
    }
    const button = make("button", "button", "Send", { type: "submit" });
    const curl = make("code", "curl");
    const answer = make("pre", "answer", "", { hidden: "", tabindex: "0", role: "region", "aria-label": "Answer" });
    parts.push(make("div", "go", [button, curl]), answer);
    const form = make("form", "try", parts, { autocomplete: "off" });
    const request = () => {
      const values = Object.fromEntries(new FormData(form));
      const token = this.needsToken ? document.getElementById("token").value.trim() : "";
      return requestOf(this.method, this.path, this.parameters, values, { body: body?.value, token });
    };
    const showCurl = () => {
      const wanted = request();
      if (this.needsToken) wanted.headers.Authorization = "Bearer $TOKEN";
      curl.textContent = curlOf(wanted).replace("'Authorization: Bearer $TOKEN'", '"Authorization: Bearer $TOKEN"');
    };
    form.addEventListener("input", showCurl);
    showCurl();
    let running = null;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (running) {
        running.abort();
        return;
      }
      running = new AbortController();
      button.textContent = "Stop";
      answer.hidden = false;
      answer.textContent = "…";
      try {
        await send(request(), running.signal, (status, text) => {
          answer.dataset.kind = status < 400 ? "good" : "bad";
          answer.textContent = text;
        });
      } catch (error) {
        if (error.name !== "AbortError") answer.textContent = `No answer: ${error.message}`;
      } finally {
        running = null;
        button.textContent = "Send";
      }
    });
    return form;
  }

  #input({ name, in: place, required, schema, example }) {
    const id = `${this.id}-${name}`;
    const input = make("input", "field", "", {
      id,
      name,
      spellcheck: "false",
      placeholder: this.schemas.limits(schema),
    });
    input.required = Boolean(required);
    if (required && example !== undefined) input.value = example;
    const note = make("span", "quiet", ` (${place})`);
    return make("div", "", [make("label", "label", [name, note], { for: id }), input]);
  }
}

async function draw() {
  const calls = document.getElementById("calls");
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const description = await response.json();
  document.getElementById("description").append(...prose(description.info.description));
  const schemas = new Schemas(description);
  const about = new Map(description.tags?.map((tag) => [tag.name, tag.description]));
  const groups = new Map();
  for (const [path, verbs] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(verbs)) {
      const [tag] = operation.tags;
      groups.set(tag, [...(groups.get(tag) ?? []), new Operation(schemas, method, path, operation)]);
    }
  }
  const sections = [...groups].map(([tag, operations]) =>
    make("section", "", [
      make("h2", "", tag),
      make("p", "quiet small", about.get(tag) ?? ""),
      make(
        "div",
        "card",
        operations.map((operation) => operation.draw()),
      ),
    ]),
  );
  calls.replaceChildren(...sections);
  calls.ariaBusy = "false";
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  if (wanted instanceof HTMLDetailsElement) {
    wanted.open = true;
    wanted.scrollIntoView();
  }
}

draw().catch((error) => {
  document.getElementById("calls").textContent = `The description could not be loaded (${error.message}). Try again.`;
});
