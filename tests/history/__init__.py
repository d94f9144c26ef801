"""Record what clients saw under pairs of faults, and have it checked by a history checker that is not ours.

`make history` (or `python -m tests.history`) runs every pair of the faults in `faults.py` against a real cluster.
Clients add to, set and read a few shared players through NGINX, each gateway and each replica of the service; each
call is recorded with its start and end by one monotonic clock. The history is written as lines of JSON, and Porcupine
(`checker/`, in Go) tells for each player whether one order of its operations explains every answer: an order in which
no operation comes before one that had ended when it started, each takes effect once, and each answer is the score of
that moment.

What counts as an operation:

- An acknowledged write took effect once, between its first attempt and its answer, and made the score in its answer.
- A write without a clear answer took effect once at any time after its start, or never: its end is the history's.
- A refused write (every attempt answered that nothing was done, or could not connect) took no effect and is left out.
- A repeated call with one Idempotency-Key is one operation, over all its attempts.
- A read counts if Redis answered it. Reads that Postgres answered may be older and are left out.

**A fault that loses Redis' tail.** With `appendfsync everysec` a killed Redis can come back without its last writes,
and "uncommitted writes may count as never done". Each new life of Redis (another process, or one that was a replica and
is promoted again) is therefore an operation of its own, a *loss*, at an unknown moment between the last answer of the
old life and the first of the new one. It takes the player back to the score after some earlier operation: it undoes the
last operations, none that survived, and none that comes before one that survived. What is undone may have been seen
before the loss, and is never seen after it. That an operation survived is known

- by a canary: a counter that is written to Redis every few milliseconds. The append-only file has writes in their
  order, so whatever had ended when the canary's value was sent that the new life still has, was kept (`since`);
- where Redis' data is replaced after everything was saved, by the moment since which no write was in flight;
- by the rows of Postgres, read all the while: a write not newer than its player's row in a snapshot from before the
  new life is committed, and no later loss may undo it.

**A lost write that is given back.** A worker may hold, in memory only, a batch that Redis has lost and that Postgres
refuses under the new admission. It gives the events back as new writes, where nothing was written to those players
since (docs/decisions/0016). The shard may be admitted before that: then a write that clients saw is gone for some reads
and is there again. The product allows it, for that while only. The model does not: what a loss undid never comes back,
and what it did not undo is always there. So a history in which a read fell between an admission and the give-back is
refused ("back after a loss"), and such a verdict is to be read with that in mind: the log of a worker then says "events
that redis had lost were given back". "Redis rolled back while an upsert is slow" keeps clear of it: what its batches
hold are writes of players that are not in the history.

So a restart that loses nothing undoes nothing but what falls into the last gap between two values of the canary, some
milliseconds. An unknown write may be undone by every loss after its start, a read that ended before `since` proves that
what it saw was kept.

With lost data answers to Idempotency-Keys are lost as well, and a repeat may be done again: a write whose attempts lie
on both sides of a loss in which an acknowledged value of the canary went is taken as two (`operations.py`). Where the
canary lost nothing that was acknowledged it stays one; in the gap of some milliseconds after the last value, that is
stricter than what is promised, and a violation that rests on a key and on such a gap is to be read with that in mind.
"""
