import { lazy } from "react";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import type { Key } from "../i18n/catalogue.ts";
import { useT } from "../i18n/index.tsx";
import { session } from "../session/session.ts";
import { ActButton } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { useShown } from "../ui/use-shown.ts";
import { useUrl } from "../ui/use-url.ts";
import { Faults } from "./faults.tsx";
import { order } from "./order-once.ts";
import { Stops } from "./stops.tsx";

const Order = lazy(() => import("./order/order.tsx"));

const SHELF = graphql(`
  query LabProducts {
    productsConnection(first: 50, sortBy: PRICE) {
      edges {
        node {
          id
          name
          price
          availableQuantity
        }
      }
    }
  }
`);

type Trial = { name: Key; what: Key; quantity?: number; paymentMethod?: string; shippingMethod?: string };

const TRIALS: readonly Trial[] = [
  { name: "lab.fine", what: "lab.fine.what" },
  { name: "lab.tooMany", what: "lab.tooMany.what", quantity: 100_000 },
  { name: "lab.decline", what: "lab.decline.what", paymentMethod: "decline" },
  { name: "lab.refuse", what: "lab.refuse.what", shippingMethod: "refuse" },
  { name: "lab.fail2", what: "lab.fail2.what", paymentMethod: "fail-2" },
  { name: "lab.timeOut", what: "lab.timeOut.what", paymentMethod: "time-out" },
];

/** Where orders reach real providers there is no lab, whoever opens its address. */
const FaultLab = () => {
  const t = useT();
  return (
    <>
      <h1>{t("nav.lab")}</h1>
      {session.where.faultLab ? <Lab /> : <p>{t("lab.noSandbox")}</p>}
    </>
  );
};

/** Order with a chosen ending, or break a provider, and see the consequence below, live. */
const Lab = () => {
  const t = useT();
  const [url, change] = useUrl();
  const product = url.get("product");
  const asked = useAsk(SHELF, {});
  const started = url.get("order");
  const place = useShown<HTMLElement>(started ?? "");
  return (
    <>
      <p className="note">{t("lab.note")}</p>
      <Faults />
      <Stops />
      <section className="panel">
        <h2>{t("lab.orders")}</h2>
        <Answer
          asked={asked}
          isEmpty={({ productsConnection }) => productsConnection?.edges.length === 0}
          empty={<p>{t("products.none")}</p>}
        >
          {({ productsConnection }) => {
            const products = productsConnection?.edges.map(({ node }) => node) ?? [];
            const chosen =
              products.find(({ id }) => id === product) ?? products.find((one) => (one.availableQuantity ?? 0) > 0);
            return (
              <>
                <label>
                  {t("product")}
                  <select value={chosen?.id} onChange={(event) => change({ product: event.target.value })}>
                    {products.map(({ id, name }) => (
                      <option key={id} value={id}>
                        {name}
                      </option>
                    ))}
                  </select>
                </label>
                <ul className="shelf">
                  {TRIALS.map(({ name, what, quantity, ...methods }) => (
                    <li key={name}>
                      <strong>{t(name)}</strong>
                      <span className="note">{t(what)}</span>
                      {chosen && (
                        <ActButton
                          permission="write"
                          kind="main"
                          said={t("lab.ordered")}
                          run={async () => {
                            const outcome = await order(chosen, quantity ?? 1, methods);
                            if ("data" in outcome) change({ order: outcome.data, at: undefined, step: undefined }, false);
                            return outcome;
                          }}
                        >
                          {t("lab.run")}
                        </ActButton>
                      )}
                    </li>
                  ))}
                </ul>
              </>
            );
          }}
        </Answer>
      </section>
      {started && (
        <section ref={place} aria-label={t("lab.consequence")}>
          <Order key={started} id={started} />
        </section>
      )}
    </>
  );
};

export default FaultLab;
