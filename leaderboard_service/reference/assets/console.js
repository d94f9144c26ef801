// "Try it": sends a call as somebody filled it in, and shows the answer as it comes, streams included.

const MOST_CHARACTERS = 60_000;
const SHOWN_HEADERS = [
  "content-type",
  "retry-after",
  "x-leaderboard-source",
  "x-upstream-addr",
  "x-service-addr",
  "x-request-id",
];

/** The request that a form describes: `{method, url, headers, body}`. `values` are by parameter name. */
export function requestOf(method, path, parameters, values, { body, token } = {}) {
  let target = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const { name, in: place } of parameters) {
    const value = values[name] ?? "";
    if (place === "path") target = target.replace(`{${name}}`, encodeURIComponent(value));
    else if (value === "") continue;
    else if (place === "query") query.append(name, value);
    else headers[name] = value;
  }
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  const url = new URL(target + (query.size > 0 ? `?${query}` : ""), location.origin);
  return { method, url, headers, body };
}

/** The same request for a shell. */
export function curlOf({ method, url, headers, body }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ["curl"];
  if (url.pathname.startsWith("/stream/")) parts.push("-N"); // each event as it comes
  if (method !== "GET") parts.push("-X", method);
  for (const [name, value] of Object.entries(headers)) parts.push("-H", quoted(`${name}: ${value}`));
  if (body !== undefined) parts.push("-d", quoted(body));
  return [...parts, quoted(String(url))].join(" ");
}

/**
 * Sends it. `onText(text)` gets the answer so far, as often as more of it comes; returns the line about it.
 * Throws AbortError when `signal` ends it, TypeError when there was no answer.
 */
export async function send({ method, url, headers, body }, signal, onText) {
  const started = performance.now();
  const response = await fetch(url, { method, headers, body, signal, cache: "no-store", credentials: "omit" });
  const milliseconds = Math.round(performance.now() - started);
  const shown = SHOWN_HEADERS.filter((name) => response.headers.has(name)).map(
    (name) => `${name}: ${response.headers.get(name)}`,
  );
  const head = [`HTTP ${response.status} in ${milliseconds} ms`, ...shown, ""].join("\n");
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  onText(response.status, head);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    onText(response.status, `${head}\n${text.slice(-MOST_CHARACTERS)}`);
  }
  if (isJson) onText(response.status, `${head}\n${pretty(text).slice(0, MOST_CHARACTERS)}`);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
