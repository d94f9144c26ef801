// Plays a whole life at the address that it is given, with the client that oapi-codegen makes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

const most = int64(9007199254740991)

// bodyOf fills a body from JSON: whether a field is a pointer depends on whether it is required.
func bodyOf[T any](format string, values ...any) (body T) {
	must(json.Unmarshal(fmt.Appendf(nil, format, values...), &body))
	return body
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect[T comparable](what string, found, wanted T) {
	if found != wanted {
		panic(fmt.Sprintf("%s is %v, not %v", what, found, wanted))
	}
}

func written(what string, answer *ScoreWritten, score int64) {
	expect(what, answer.Score, score)
	expect(what+": a time of 64 bits", answer.UpdatedAt > 1<<40, true)
}

func main() {
	ctx, token := context.Background(), ""
	client, err := NewClientWithResponses(os.Args[1], WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return nil
	}))
	must(err)

	made, err := client.RegisterPlayerWithResponse(ctx, bodyOf[RegisterBody](
		`{"user_id": "gopher", "name": "Gopher", "region": "EU", "initialScore": %d, "password": "correct horse"}`, -most))
	must(err)
	expect("the first score", made.JSON201.User.Score, -most)
	entered, err := client.LoginWithResponse(ctx, bodyOf[LoginBody](
		`{"user_id": "gopher", "name": "Gopher", "password": "correct horse"}`))
	must(err)
	token = entered.JSON200.Token

	set, err := client.UpdateScoreWithResponse(ctx, nil, UpdateBody{Score: most})
	must(err)
	written("update", set.JSON200, most)
	for _, left := range []int64{0, -most} {
		added, err := client.AddScoreWithResponse(ctx, nil, AddBody{Delta: -most})
		must(err)
		written("add", added.JSON200, left)
	}
	refused, err := client.AddScoreWithResponse(ctx, nil, AddBody{Delta: -1})
	must(err)
	expect("the refusal", refused.JSON422.Error, "score_out_of_range")
	submitted, err := client.SubmitScoreWithResponse(ctx, nil, bodyOf[SubmitBody](
		`{"user_id": "gopher", "region": "EU", "score": %d}`, most))
	must(err)
	written("submit", submitted.JSON200, most)

	top, err := client.GetTopWithResponse(ctx, nil)
	must(err)
	expect("the best score", top.JSON200.Rows[0].Score, most)
	low, high := -most, most
	between, err := client.GetRangeWithResponse(ctx, &GetRangeParams{Min: &low, Max: &high})
	must(err)
	expect("the range", between.JSON200.Total, top.JSON200.Total)
	rank, err := client.GetRankWithResponse(ctx, "gopher", nil)
	must(err)
	expect("the rank", rank.JSON200.Rank, 1)
	expect("its score", rank.JSON200.Score, most)
	kept, err := client.ExportPlayerWithResponse(ctx, "gopher")
	must(err)
	expect("the exported score", kept.JSON200.User.Score, most)
	expect("the exported time", kept.JSON200.User.UpdatedAt, submitted.JSON200.UpdatedAt)
	deleted, err := client.DeletePlayerWithResponse(ctx, "gopher", nil)
	must(err)
	expect("deleted_at, after the last write", deleted.JSON200.DeletedAt > kept.JSON200.User.UpdatedAt, true)
	fmt.Println("a whole life")
}
