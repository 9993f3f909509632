import { useState } from "react";

import { graphql, type ResultOf } from "../../api/graphql.ts";
import { useT } from "../../i18n/index.tsx";
import { ActButton, send } from "../../ui/act.tsx";
import { ERASED, MASKED } from "../../ui/erased.ts";
import { Personal } from "../../ui/personal.tsx";

const ERASE = graphql(`
  mutation ErasePerson($userId: ID!, $reason: String!) {
    erasePerson(userId: $userId, reason: $reason) {
      erased
      orders
    }
  }
`);

type Erased = ResultOf<typeof ERASE>["erasePerson"];

/** The order's customer, whom an admin can erase from all orders. */
export const Customer = ({ userId, done }: { userId: string; done: () => void }) => {
  const t = useT();
  const [result, setResult] = useState<Erased>();

  const erase = async (reason: string) => {
    // Right after a sign-in, the page may still hold what an anonymous reader sees.
    if (userId === MASKED) return { failure: { code: "UNKNOWN", message: t("erase.masked") } };
    const outcome = await send(ERASE, { userId, reason });
    if ("data" in outcome) setResult(outcome.data.erasePerson);
    return outcome;
  };
  return (
    <span className="row">
      <Personal of={userId} />
      {userId !== ERASED && (
        <ActButton
          permission="admin"
          kind="danger"
          run={erase}
          done={done}
          confirm={{
            title: t("erase.title", { user: userId }),
            reason: "required",
            text: (
              <ul>
                <li>{t("erase.what.unreadable")}</li>
                <li>{t("erase.what.orders")}</li>
                <li>{t("erase.what.final")}</li>
                <li>{t("erase.what.reason")}</li>
              </ul>
            ),
          }}
        >
          {t("erase")}
        </ActButton>
      )}
      {result && (
        <small role="status">{result.erased ? t.n("erase.done", result.orders) : t("erase.nothing")}</small>
      )}
    </span>
  );
};
