// Reads an OpenAPI document: what a schema means in a few words, and an example that fits it.

export class Schemas {
  #document;

  constructor(document) {
    this.#document = document;
  }

  /** The schema itself, with references followed. */
  resolved(schema) {
    let found = schema ?? {};
    while (found.$ref) {
      found = found.$ref
        .slice(2)
        .split("/")
        .reduce((part, name) => part[name], this.#document);
    }
    return found;
  }

  /** A type in a few words: "string", "integer or null", "list of BoardRow". */
  words(schema) {
    const named = schema.$ref?.split("/").pop();
    const found = this.resolved(schema);
    if (found.anyOf) return found.anyOf.map((option) => this.words(option)).join(" or ");
    if (found.type === "array") return `list of ${this.words(found.items ?? {})}`;
    return named ?? found.type ?? "anything";
  }

  /** What a value must keep to: "1 to 128 characters", "at least 1". */
  limits(schema) {
    const found = this.resolved(schema);
    const option = found.anyOf?.map((part) => this.resolved(part)).find((part) => part.type !== "null") ?? found;
    const between = (low, high, unit) => {
      if (low === undefined && high === undefined) return "";
      if (high === undefined) return `at least ${low}${unit}`;
      if (low === undefined) return `at most ${high}${unit}`;
      return `${low} to ${high}${unit}`;
    };
    return [
      option.enum ? `one of ${option.enum.join(", ")}` : "",
      between(option.minimum, option.maximum, ""),
      between(option.minLength, option.maxLength, " characters"),
      between(option.minItems, option.maxItems, " items"),
      found.default === undefined || found.default === null || found.default === "" ? "" : `default ${found.default}`,
    ]
      .filter(Boolean)
      .join(", ");
  }

  /** The fields of an object: `[{name, schema, required}]`. */
  fields(schema) {
    const found = this.resolved(schema);
    const required = new Set(found.required ?? []);
    return Object.entries(found.properties ?? {}).map(([name, part]) => ({
      name,
      schema: part,
      required: required.has(name),
    }));
  }

  /** The first of the examples that a content has, undefined when there is none. */
  recorded(content) {
    const [first] = Object.values(content?.examples ?? {});
    return first && this.resolved(first).value;
  }

  /** A value that fits the schema, from its examples where there are some. */
  example(schema, depth = 0) {
    const found = this.resolved(schema);
    if (found.examples?.length) return found.examples[0];
    if (found.default !== undefined) return found.default;
    if (found.anyOf) return this.example(found.anyOf[0], depth);
    if (depth > 4) return null;
    if (found.type === "array") return [this.example(found.items ?? {}, depth + 1)];
    if (found.type === "object" || found.properties) {
      const fields = this.fields(found).filter((field) => field.required || depth > 0);
      return Object.fromEntries(fields.map(({ name, schema: part }) => [name, this.example(part, depth + 1)]));
    }
    return { integer: found.minimum > 0 ? found.minimum : 0, number: 0, boolean: true, string: "" }[found.type] ?? null;
  }
}
