package main

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"strings"

	"github.com/anishathalye/porcupine"
)

// input is an operation as the model takes it.
type input struct {
	kind     string // add, set, read, loss
	argument int64
	outcome  string // ok, unknown, repeated
	score    *int64 // in the answer; nil: there is no such player
	kept     uint64 // bit n: loss n cannot undo it
	loss     int    // of a loss: its bit
}

// version is a score that the player had, and the losses that cannot undo it.
type version struct {
	score int64
	kept  uint64
}

// state is the player's present score, on top, over those to which a loss may take it back.
// A state is never changed: each step makes a new one.
type state struct {
	versions []version
	passed   uint64 // the losses that are over
}

// start is the state of a player that was made with score 0 and saved before the history.
func start(all uint64) state {
	return state{versions: []version{{score: 0, kept: all}}}
}

func (s state) top() version {
	return s.versions[len(s.versions)-1]
}

// write puts a new score on top.
func (s state) write(score int64, kept uint64, all uint64) state {
	versions := make([]version, len(s.versions), len(s.versions)+1)
	copy(versions, s.versions)
	return state{append(versions, version{score, kept}), s.passed}.trimmed(all)
}

// see notes that the present score is known to outlive these losses.
func (s state) see(kept uint64, all uint64) state {
	if s.top().kept|kept == s.top().kept {
		return s
	}
	versions := make([]version, len(s.versions))
	copy(versions, s.versions)
	versions[len(versions)-1].kept |= kept
	return state{versions, s.passed}.trimmed(all)
}

// lose lists the states in which a loss may leave the player.
func (s state) lose(loss int, all uint64) []interface{} {
	bit := uint64(1) << loss
	least := 1
	for index := len(s.versions); index > 0; index-- {
		if s.versions[index-1].kept&bit != 0 {
			least = index
			break
		}
	}
	var found []interface{}
	for length := least; length <= len(s.versions); length++ {
		found = append(found, state{s.versions[:length:length], s.passed | bit}.trimmed(all))
	}
	return found
}

// trimmed drops what no loss that is still to come can bring back.
func (s state) trimmed(all uint64) state {
	for index := len(s.versions) - 1; index > 0; index-- {
		if (s.versions[index].kept|s.passed)&all == all {
			return state{s.versions[index:], s.passed}
		}
	}
	return s
}

func (s state) String() string {
	var parts []string
	for _, one := range s.versions {
		parts = append(parts, fmt.Sprint(one.score))
	}
	return strings.Join(parts, " < ")
}

func equal(a, b interface{}) bool {
	one, other := a.(state), b.(state)
	if one.passed != other.passed || len(one.versions) != len(other.versions) {
		return false
	}
	for index := range one.versions {
		if one.versions[index] != other.versions[index] {
			return false
		}
	}
	return true
}

func hash(a interface{}) uint64 {
	sum := fnv.New64a()
	for _, one := range a.(state).versions {
		fmt.Fprintf(sum, "%d %d ", one.score, one.kept)
	}
	return sum.Sum64()
}

// playerModel is one player: a register with add, set and read, which a loss takes back.
func playerModel(losses int) porcupine.Model {
	all := uint64(1)<<losses - 1
	model := porcupine.NondeterministicModel{
		Init: func() []interface{} { return []interface{}{start(all)} },
		Step: func(before, in, _ interface{}) []interface{} {
			return step(before.(state), in.(input), all)
		},
		Equal: equal,
		Hash:  hash,
		DescribeOperation: func(in, _ interface{}) string {
			return describe(in.(input), all)
		},
		DescribeState: func(s interface{}) string { return s.(state).String() },
	}
	return model.ToModel()
}

func step(before state, in input, all uint64) []interface{} {
	switch in.kind {
	case "loss":
		return before.lose(in.loss, all)
	case "read":
		if in.score == nil || *in.score != before.top().score {
			return nil
		}
		return []interface{}{before.see(in.kept, all)}
	}
	score := in.argument
	if in.kind == "add" {
		score += before.top().score
	}
	matches := in.score != nil && *in.score == score
	var found []interface{}
	if matches || in.outcome == "unknown" {
		found = append(found, before.write(score, in.kept, all))
	}
	if in.outcome == "repeated" { // answered from what was done before a loss
		found = append(found, before)
	}
	return found
}

func describe(in input, all uint64) string {
	answer := in.outcome
	if in.score != nil {
		answer = fmt.Sprint(*in.score)
	}
	if in.outcome == "repeated" {
		answer += " (repeated over a loss)"
	}
	if undone := bits.OnesCount64(all &^ in.kept); undone > 0 && in.kind != "loss" && in.kind != "read" {
		answer += " (may be undone)"
	}
	switch in.kind {
	case "loss":
		return fmt.Sprintf("new life of Redis, loss %d", in.loss+1)
	case "read":
		return "read: " + answer
	}
	return fmt.Sprintf("%s %d: %s", in.kind, in.argument, answer)
}
