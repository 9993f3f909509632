import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { session } from "../session/session.ts";
import { ActButton, send } from "../ui/act.tsx";
import { Answer } from "../ui/answer.tsx";
import { Badge } from "../ui/badge.tsx";

const FAULTS = graphql(`
  query Faults {
    faults {
      provider
      fault
    }
  }
`);

const SET_FAULT = graphql(`
  mutation SetFault($provider: Provider!, $fault: Fault!, $reason: String) {
    setFault(provider: $provider, fault: $fault, reason: $reason) {
      provider
    }
  }
`);

const NAMES = ["NONE", "SLOW", "REFUSES", "DOWN"] as const;
const EVERY_MS = 5_000;

/** The sandbox's providers that are broken now, with the way to the fault lab, where they are repaired. */
export const BrokenProviders = () => {
  const t = useT();
  const { data } = useAsk(FAULTS, {}, { every: EVERY_MS, pause: !session.where.faultLab });
  const broken = data?.faults?.filter(({ fault }) => fault !== "NONE") ?? [];
  return broken.map(({ provider, fault }) => (
    <p key={provider} className="row center">
      {t("lab.broken", { provider: t(`lab.provider.${provider}`), fault: t(`lab.fault.${fault}`) })}
      <Link className="button" href="/lab">
        {t("nav.lab")}
      </Link>
    </p>
  ));
};

/** The sandbox's providers, which can be broken for all orders, and repaired. */
export const Faults = () => {
  const t = useT();
  const asked = useAsk(FAULTS, {}, { every: EVERY_MS });
  return (
    <section className="panel">
      <h2>{t("lab.providers")}</h2>
      <Answer asked={asked}>
        {({ faults }) => (
          <ul className="steps">
            {faults?.map(({ provider, fault }) => (
              <li key={provider} className="row center">
                <strong>{t(`lab.provider.${provider}`)}</strong>
                <Badge tone={fault === "NONE" ? "good" : "bad"}>{t(`lab.fault.${fault}`)}</Badge>
                {NAMES.filter((name) => name !== fault).map((name) => (
                  <ActButton
                    key={name}
                    permission="admin"
                    kind={name === "NONE" ? "main" : "danger"}
                    run={(reason) => send(SET_FAULT, { provider, fault: name, reason: reason || null })}
                    done={asked.again}
                    confirm={{
                      title: `${t(`lab.provider.${provider}`)}: ${t(`lab.make.${name}`)}`,
                      text: t(`lab.make.${name}.what`),
                      reason: "optional",
                    }}
                  >
                    {t(`lab.make.${name}`)}
                  </ActButton>
                ))}
              </li>
            ))}
          </ul>
        )}
      </Answer>
    </section>
  );
};
