// Command history-checker tells whether a history of scores is linearizable for each player.
//
// The package docstring of tests/history says what is recorded and why; operations.py writes the lines that are read
// here. Exit codes: 0 linearizable, 1 not linearizable, 2 no verdict.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

const mostLosses = 60

// line is one line of a history; times are ns since its origin.
type line struct {
	Kind     string `json:"kind"`
	Player   string `json:"player"`
	Client   int    `json:"client"`
	Start    int64  `json:"start"`
	End      *int64 `json:"end"`
	Argument int64  `json:"argument"`
	Outcome  string `json:"outcome"`
	Score    *int64 `json:"score"`
	Source   string `json:"source"`
	UndoneBy []int  `json:"undone_by"`
	Loss     int    `json:"loss"`
	text     string
}

// counts tells whether a line says something about Redis' scores.
func (l line) counts() bool {
	switch l.Kind {
	case "add", "set":
		return l.Outcome != "refused"
	case "read":
		return l.Outcome == "ok" && l.Source == "redis"
	}
	return false
}

type history struct {
	losses  []line
	players map[string][]line
	end     int64
	count   int
}

func read(path string) (history, error) {
	found := history{players: map[string][]line{}}
	file, err := os.Open(path)
	if err != nil {
		return found, err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<26)
	for number := 1; scanner.Scan(); number++ {
		var one line
		if err := json.Unmarshal(scanner.Bytes(), &one); err != nil {
			return found, fmt.Errorf("line %d: %w", number, err)
		}
		one.text = scanner.Text()
		for _, moment := range []*int64{&one.Start, one.End} {
			if moment != nil && *moment > found.end {
				found.end = *moment
			}
		}
		switch {
		case one.Kind == "loss":
			if one.Loss != len(found.losses)+1 || one.Loss > mostLosses || one.End == nil {
				return found, fmt.Errorf("line %d: not the next loss, or more than %d", number, mostLosses)
			}
			found.losses = append(found.losses, one)
		case one.counts():
			if one.End == nil && one.Outcome != "unknown" {
				return found, fmt.Errorf("line %d: acknowledged, and without an end", number)
			}
			found.players[one.Player] = append(found.players[one.Player], one)
			found.count++
		case one.Kind != "about" && one.Kind != "add" && one.Kind != "set" && one.Kind != "read":
			return found, fmt.Errorf("line %d: unknown kind %q", number, one.Kind)
		}
	}
	if err := scanner.Err(); err != nil {
		return found, err
	}
	if found.count == 0 {
		return found, errors.New("it has no operation")
	}
	return found, nil
}

// operations makes Porcupine's operations of a player's lines. What has no end ends after everything else.
func (h history) operations(lines []line) []porcupine.Operation {
	all := uint64(1)<<len(h.losses) - 1
	var undone uint64
	var found []porcupine.Operation
	unknown := 1000 // a lane of its own in the drawing, because its client goes on
	for _, one := range lines {
		in := input{kind: one.Kind, argument: one.Argument, outcome: one.Outcome, score: one.Score, kept: all}
		for _, loss := range one.UndoneBy {
			in.kept &^= uint64(1) << (loss - 1)
		}
		undone |= all &^ in.kept
		operation := porcupine.Operation{ClientId: one.Client + 1, Input: in, Call: one.Start, Return: h.end + 1}
		if one.End != nil {
			operation.Return = *one.End
		} else {
			unknown++
			operation.ClientId = unknown
		}
		found = append(found, operation)
	}
	for index, loss := range h.losses {
		if undone&(uint64(1)<<index) == 0 { // it can undo nothing of this player
			continue
		}
		in := input{kind: "loss", loss: index}
		found = append(found, porcupine.Operation{ClientId: 2000, Input: in, Call: loss.Start, Return: *loss.End})
	}
	return found
}

// until is what was known at a moment: what had ended, and what was under way as unknown.
func (h history) until(lines []line, moment int64) []line {
	var found []line
	var anyLoss []int
	for _, loss := range h.losses {
		anyLoss = append(anyLoss, loss.Loss)
	}
	for _, one := range lines {
		switch {
		case one.Start > moment:
		case one.End == nil || *one.End <= moment:
			found = append(found, one)
		case one.Kind != "read":
			one.End, one.Score, one.Outcome, one.UndoneBy = nil, nil, "unknown", anyLoss
			found = append(found, one)
		}
	}
	return found
}

// firstImpossible finds the answer with which a player's history stops to be linearizable.
func (h history) firstImpossible(model porcupine.Model, lines []line, timeout time.Duration) (line, bool) {
	ended := append([]line(nil), lines...)
	sort.SliceStable(ended, func(a, b int) bool { return endOf(ended[a]) < endOf(ended[b]) })
	for _, one := range ended {
		if one.End == nil {
			break
		}
		if porcupine.CheckOperationsTimeout(model, h.operations(h.until(lines, *one.End)), timeout) == porcupine.Illegal {
			return one, true
		}
	}
	return line{}, false
}

func endOf(one line) int64 {
	if one.End == nil {
		return 1<<63 - 1
	}
	return *one.End
}

func check(path string, timeout time.Duration, draw bool) (int, error) {
	found, err := read(path)
	if err != nil {
		return 2, fmt.Errorf("%s: %w", path, err)
	}
	began := time.Now()
	model := playerModel(len(found.losses))
	names := make([]string, 0, len(found.players))
	for name := range found.players {
		names = append(names, name)
	}
	sort.Strings(names)
	code := 0
	var words []string
	for _, name := range names {
		lines := found.players[name]
		operations := found.operations(lines)
		switch porcupine.CheckOperationsTimeout(model, operations, timeout) {
		case porcupine.Ok:
			continue
		case porcupine.Unknown:
			words = append(words, fmt.Sprintf("%s: not decided within %s", name, timeout))
			if code == 0 {
				code = 2
			}
			continue
		}
		code = 1
		word := fmt.Sprintf("%s: no order of its %d operations explains every answer", name, len(lines))
		if first, ok := found.firstImpossible(model, lines, timeout); ok {
			word += "; the first that does not fit is\n    " + first.text
		}
		if draw {
			picture := strings.TrimSuffix(path, ".jsonl") + "-" + name + ".html"
			_, info := porcupine.CheckOperationsVerbose(model, operations, timeout)
			if err := porcupine.VisualizePath(model, info, picture); err != nil {
				return 2, err
			}
			word += "\n    drawn in " + picture
		}
		words = append(words, word)
	}
	fmt.Printf("%d operations on %d players, %d new lives of Redis, checked in %.1f s\n",
		found.count, len(names), len(found.losses), time.Since(began).Seconds())
	for _, word := range words {
		fmt.Println("  " + word)
	}
	return code, nil
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "for each player")
	draw := flag.Bool("draw", false, "draw what is refused as HTML beside the history")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "name one history, a file of JSON lines")
		os.Exit(2)
	}
	code, err := check(flag.Arg(0), *timeout, *draw)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
