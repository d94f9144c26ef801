// Calls of the API: JSON in and out, and every failure as one kind of error.

const PATIENCE_MS = 15_000;

/** What went wrong, with the API's code; `retryAfter` is in seconds, null when nothing was said. */
export class ApiError extends Error {
  constructor(status, code, message, { retryAfter = null, fields = [], data = null } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter, fields, data });
  }
}

/** The path of a player's resource. */
export const playerPath = (root, userId) => `${root}/${encodeURIComponent(userId)}`;

/** Calls the API and returns its JSON. Throws ApiError, with code "no_answer" when there was none. */
export async function call(method, path, { body, query, token, once = false } = {}) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  // With a key, gateways repeat a write that broke off, and it still counts once.
  if (once) headers["Idempotency-Key"] = randomKey();
  let response;
  let data;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    data = await response.json();
  } catch (cause) {
    throw new ApiError(response?.status ?? 0, "no_answer", "The leaderboard gave no answer.", { cause });
  }
  if (response.ok) return data;
  const said = Number(response.headers.get("Retry-After") ?? data.retry_after);
  throw new ApiError(response.status, data.error ?? "unknown", data.message ?? "", {
    retryAfter: Number.isFinite(said) && said > 0 ? said : null,
    fields: data.fields ?? (data.field ? [{ field: data.field, message: data.message }] : []),
    data,
  });
}

// crypto.randomUUID is missing on plain HTTP from another machine.
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
