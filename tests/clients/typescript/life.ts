// Plays a whole life at the address that it is given, with the types that openapi-typescript makes.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const most = Number.MAX_SAFE_INTEGER;
const client = createClient<paths>({ baseUrl: process.argv[2] });

/** What a call answered; an error ends the life. */
function data<T>(answer: { data?: T; error?: unknown }): T {
  assert(answer.data !== undefined, JSON.stringify(answer.error));
  return answer.data;
}

const account = { user_id: "deno", name: "Deno", password: "correct horse" };
const made = data(await client.POST("/auth/register", { body: { ...account, region: "EU", initialScore: -most } }));
assert.equal(made.user.score, -most);
const { token } = data(await client.POST("/auth/login", { body: account }));
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${token}`);
  },
});

assert.equal(data(await client.POST("/score/update", { body: { score: most } })).score, most);
for (const left of [0, -most]) {
  assert.equal(data(await client.POST("/score/add", { body: { delta: -most } })).score, left);
}
const { error } = await client.POST("/score/add", { body: { delta: -1 } });
assert.equal(error?.error, "score_out_of_range");
const submitted = data(await client.POST("/score", { body: { user_id: "deno", region: "EU", score: most } }));
assert.equal(submitted.score, most);

const path = { user_id: "deno" };
assert.equal(data(await client.GET("/top")).rows[0].score, most);
assert.equal(data(await client.GET("/range", { params: { query: { min: -most, max: most } } })).total, 1);
const rank = data(await client.GET("/rank/{user_id}", { params: { path } }));
assert.deepEqual([rank.rank, rank.score], [1, most]);
const { user } = data(await client.GET("/users/{user_id}", { params: { path } }));
assert.deepEqual([user.score, user.updated_at], [most, submitted.updated_at]);
assert(data(await client.DELETE("/users/{user_id}", { params: { path } })).deleted_at > user.updated_at);
console.log("a whole life");
