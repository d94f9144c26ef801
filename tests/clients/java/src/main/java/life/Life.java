package life;

import java.util.Objects;
import life.api.AuthApi;
import life.api.BoardsApi;
import life.api.ScoresApi;
import life.api.UsersApi;
import life.client.ApiClient;
import life.client.ApiException;
import life.model.AddBody;
import life.model.LoginBody;
import life.model.RegisterBody;
import life.model.ScoreWritten;
import life.model.SubmitBody;
import life.model.UpdateBody;

/** Plays a whole life at the address that it is given, with the client that openapi-generator makes. */
public class Life {
  private static final long MOST = 9007199254740991L;

  private static void expect(String what, Object found, Object wanted) {
    if (!Objects.equals(found, wanted)) throw new AssertionError(what + " is " + found + ", not " + wanted);
  }

  private static void written(String what, ScoreWritten answer, long score) {
    expect(what, answer.getScore(), score);
    expect(what + ": a time of 64 bits", answer.getUpdatedAt() > 1L << 40, true);
  }

  public static void main(String[] arguments) throws ApiException {
    ApiClient client = new ApiClient();
    client.updateBaseUri(arguments[0]);
    String[] token = {""};
    client.setRequestInterceptor(
        request -> {
          if (!token[0].isEmpty()) request.header("Authorization", "Bearer " + token[0]);
        });
    AuthApi auth = new AuthApi(client);
    ScoresApi scores = new ScoresApi(client);
    BoardsApi boards = new BoardsApi(client);
    UsersApi users = new UsersApi(client);

    RegisterBody body = new RegisterBody().userId("duke").name("Duke").region("EU");
    body.initialScore(-MOST).password("correct horse");
    expect("the first score", auth.registerPlayer(body).getUser().getScore(), -MOST);
    token[0] = auth.login(new LoginBody().userId("duke").name("Duke").password("correct horse")).getToken();

    written("update", scores.updateScore(new UpdateBody().score(MOST), null), MOST);
    written("add", scores.addScore(new AddBody().delta(-MOST), null), 0);
    written("add", scores.addScore(new AddBody().delta(-MOST), null), -MOST);
    try {
      scores.addScore(new AddBody().delta(-1L), null);
      throw new AssertionError("nothing was refused");
    } catch (ApiException refused) {
      expect("the refusal", refused.getCode(), 422);
    }
    ScoreWritten submitted = scores.submitScore(new SubmitBody().userId("duke").region("EU").score(MOST), null);
    written("submit", submitted, MOST);

    expect("the best score", boards.getTop(null, null, null, null).getRows().get(0).getScore(), MOST);
    expect("the range", boards.getRange(null, -MOST, MOST, null, null, null, null).getTotal(), 1L);
    expect("the rank", boards.getRank("duke", null).getRank(), 1L);
    expect("its score", boards.getRank("duke", null).getScore(), MOST);
    var kept = users.exportPlayer("duke").getUser();
    expect("the exported score", kept.getScore(), MOST);
    expect("the exported time", kept.getUpdatedAt(), submitted.getUpdatedAt());
    long deletedAt = users.deletePlayer("duke", null).getDeletedAt();
    expect("deleted_at, after the last write", deletedAt > kept.getUpdatedAt(), true);
    System.out.println("a whole life");
  }
}
