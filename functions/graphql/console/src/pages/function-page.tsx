import { Link } from "wouter";

import { graphql } from "../api/graphql.ts";
import { useAsk } from "../api/use-ask.ts";
import { useT } from "../i18n/index.tsx";
import { Reported, Sentence } from "../i18n/said.tsx";
import { session } from "../session/session.ts";
import { Answer } from "../ui/answer.tsx";
import { Status } from "../ui/badge.tsx";
import { Button } from "../ui/button.tsx";
import { logOfFunction } from "../ui/cloud.ts";
import { durationOf } from "../ui/format.ts";
import { Elsewhere } from "../ui/places.tsx";
import { Table } from "../ui/table.tsx";
import { Ago } from "../ui/time.tsx";
import { Deliveries, ProjectionWork, Runs } from "./function-work.tsx";
import type { Subscription } from "./topology-layout.ts";

const FUNCTION = graphql(`
  query FunctionPage($name: String!, $command: String!, $handlesCommand: Boolean!) {
    serviceHealth(serviceName: $name) {
      status
      version
      node
      checks {
        name
        status
        message
        messagePhrases {
          code
          parts
        }
        durationMs
      }
    }
    commandExecutionsConnection(first: 20, filter: { name: $command }) @include(if: $handlesCommand) {
      edges {
        node {
          id
          status
          executionTimeMs
          aggregateId
          aggregateType
          errorMessage
          timestamp
          traceId
        }
      }
    }
  }
`);

/** `create_order` handles the command CreateOrder. */
const commandOf = (name: string): string =>
  name.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());

type Props = {
  name: string;
  handlesCommand: boolean;
  subscriptions: readonly Subscription[];
  close: () => void;
};

/** One function: its health, its checks, and what it did lately: commands, deliveries or runs. */
export const FunctionPage = ({ name, handlesCommand, subscriptions, close }: Props) => {
  const t = useT();
  const asked = useAsk(FUNCTION, { name, command: commandOf(name), handlesCommand }, { every: 5_000 });
  return (
    <section className="panel" aria-labelledby="function">
      <div className="row between">
        <h2 id="function">{name}</h2>
        <span className="row center">
          <Elsewhere place={logOfFunction(session.where, name)} of="logs" />
          <Button onClick={close}>{t("act.close")}</Button>
        </span>
      </div>
      <Answer asked={asked}>
        {({ serviceHealth: health, commandExecutionsConnection: executions }) => (
          <>
            {health && (
              <>
                <p>
                  <Status of={health.status} /> <small>{health.node}</small> <small>{health.version}</small>
                </p>
                <ul className="steps">
                  {health.checks.map((check) => (
                    <li key={check.name}>
                      <Status of={check.status} /> <strong>{check.name}</strong>{" "}
                        <Sentence of={check.messagePhrases} english={check.message} />{" "}
                      <small>{durationOf(check.durationMs, t.language)}</small>
                    </li>
                  ))}
                </ul>
              </>
            )}
            {executions && executions.edges.length > 0 && (
              <Table
                caption={t("topology.recent")}
                rows={executions.edges.map(({ node }) => node)}
                keyOf={({ id }) => id}
                columns={[
                  { name: t("time"), cell: ({ timestamp }) => <Ago at={timestamp} /> },
                  { name: t("status"), cell: ({ status }) => <Status of={status} /> },
                  {
                    name: t("duration"),
                    number: true,
                    cell: ({ executionTimeMs }) => durationOf(executionTimeMs, t.language),
                  },
                  {
                    name: t("letters.subject"),
                    cell: ({ aggregateId, aggregateType }) =>
                      aggregateId && <Link href={`/events/${aggregateId}`}>{aggregateType}</Link>,
                  },
                  { name: t("error"), cell: ({ errorMessage }) => errorMessage && <Reported text={errorMessage} /> },
                  {
                    name: t("events.trace"),
                    cell: ({ traceId }) => traceId && <Link href={`/executions?trace=${traceId}`}>{traceId.slice(0, 8)}</Link>,
                  },
                ]}
              />
            )}
          </>
        )}
      </Answer>
      {subscriptions.length > 0 && <Deliveries subscriptions={subscriptions} />}
      {name.startsWith("project_") && <ProjectionWork name={name} />}
      {subscriptions.length === 0 && !handlesCommand && <Runs name={name} />}
    </section>
  );
};
