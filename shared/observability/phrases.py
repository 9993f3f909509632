"""The English text of every phrase that the shop says to operators, by its code."""

from collections.abc import Mapping

_SAGAS = {
    "SAGA_UNANSWERED": "{command} was sent {attempts} times without an answer; an admin must retry the saga",
    "SAGA_UNTIL_SUCCESS": "{command}: attempt {attempt}, next at {at}, and so on until it succeeds",
    "SAGA_ATTEMPT": "{command}: attempt {attempt} of {attempts}, next at {at}",
    "SAGA_LAST_ATTEMPT": "{command}: attempt {attempt} of {attempts}, waits for its answer until {at}",
    "THEN_UNDO": ", then {commands}",
    "THEN_ADMIN": ", then an admin must retry the saga",
    "THEN_WITHOUT": ", then the saga goes on without it",
    "BREAKER_OPEN": " (the circuit breaker of {dependency} is open)",
    "SAGA_NOT_BEGUN": "its saga has not begun: order_saga has not handled its first event yet",
    "SAGA_TO_READ": "its saga has {events} event(s) to read",
    "ENDED": "it has ended",
    "WAITS_FOR": "; it waits for ",
    "DO_RETRY_SAGA": 'remove the cause of the last error, then mutation {{ retrySaga(id: "{id}") {{ status }} }}',
    "DO_OR_WAIT": "; it also goes on by itself",
    "DO_SEE_SWEEP": "its deadline was not fired: see {{ schedules {{ name status lastError }} }} for sweep_sagas",
    "DO_RESTORE_FOR_SAGA": "restore {dependency}; the saga goes on by itself",
    "DO_REMOVE_CAUSE_FOR_SAGA": "remove the cause of the last error; the saga goes on by itself",
    "ELSE_FAILED": ", but without an answer by its last attempt it undoes the order, which ends FAILED",
    "ELSE_ADMIN": ", but without an answer by its last attempt an admin must retry it",
}

_WAITING = {
    "ADMIN_FOR_LETTERS": "an admin: no attempt could deliver {number} {type} message(s) to {source}",
    "ADMIN_FOR_LETTERS_OF_NO_TYPE": "an admin: no attempt could deliver {number} message(s) without a type to {source}",
    "ADMIN_FOR_LETTER": "an admin: no attempt could deliver {type}",
    "DEADLINE_FOR_LETTER": "its saga's deadline at {at}: no attempt could deliver {type}",
    "ANSWER": "an answer",
    "ANSWER_FOR_MESSAGES": "an answer; {messages} message(s) of {subscription} wait for it",
    "ANSWER_BREAKER_OPEN": "an answer; its circuit breaker is open",
    "OPEN_BREAKER": "{dependency}, whose circuit breaker is open",
    "DEPENDENCY_THEN_RELAY": "{dependency} to answer again, then for relay_outbox to publish {type}",
    "RELAY_OF_ONE": "relay_outbox to publish {type}",
    "RELAY": "relay_outbox to publish {messages} message(s)",
    "REDELIVERY": "Pub/Sub to deliver {type} again",
    "OLD_TRANSACTION": ("a transaction that began {seconds} seconds ago; it hides {events} event(s) from live updates"),
    "STOPPED_UNTIL": "an admin, or {at}: {by} has stopped {projection}",
    "STOPPED_UNTIL_BY_ADMIN": "an admin, or {at}: {projection} is stopped",
    "REBUILD_FOR_AHEAD": "a rebuild: it has {events} event(s) that the event store lacks",
    "PROJECTION_TO_APPLY": "{projection} to apply {events} event(s)",
    "PROJECTION_TO_APPLY_OF_ORDER": "{projection} to apply {events} event(s): queries show it as it was",
    "STREAMS_LACKING": "{streams} stream(s) that the new generation lacks after {passes} passes",
    "SUCCESSFUL_RUN": "a successful run",
    "NEXT_RUN": "its next run, due every {seconds} seconds",
}

_TO_DO = {
    "DO_NOTHING": "nothing",
    "DO_RETRY_LETTERS": (
        "remove the cause, then retryDeadLetters with this cause (source, type and error), "
        "or discardDeadLetters with a reason"
    ),
    "DO_RETRY_LETTER": 'remove the cause, then mutation {{ retryDeadLetter(id: "{letter}") {{ status }} }}',
    "DO_NOTHING_OR_RETRY_LETTER": 'nothing, or sooner: mutation {{ retryDeadLetter(id: "{letter}") {{ status }} }}',
    "DO_RESTORE": "restore {dependency}",
    "DO_RESTORE_WITHIN_A_MINUTE": "restore it; what waits goes on by itself within a minute",
    "DO_RESTORE_BREAKER_CLOSES": "restore it; the breaker closes by itself",
    "DO_RESTORE_FOR_DELIVERY": "restore {dependency}; {type} is delivered again by itself",
    "DO_REMOVE_CAUSE_FOR_DELIVERY": "remove the cause of the last error; it is delivered again by itself",
    "DO_SEE_RELAY": (
        "see {{ health {{ checks {{ name message }} }} }} for pubsub and "
        "{{ schedules {{ name lastError }} }} for relay_outbox"
    ),
    "DO_SEE_PUBSUB": "is Pub/Sub up, does relay_outbox run: {{ schedules {{ name status }} }}",
    "DO_END_TRANSACTION": "end it, as shared/monitoring/README.md says",
    "DO_START_PROJECTION": 'mutation {{ startProjection(name: "{projection}") {{ status }} }}',
    "DO_REBUILD": 'mutation {{ rebuildProjection(name: "{projection}", switchWhenEqual: true) {{ status }} }}',
    "DO_SEE_QUERY_SERVICE": (
        'is the query service up? {{ serviceHealth(serviceName: "{projection}") {{ checks {{ message }} }} }}'
    ),
    "DO_SEE_GENERATIONS": (
        "{{ projectionStatus {{ name generations {{ incomplete {{ stream error }} }} }} }}, "
        "or switchProjection with force"
    ),
    "DO_READ_LOG": "its log has the error",
    "DO_SEE_SCHEDULE": "is the schedule paused, is its service up?",
    "DO_SEE_HEALTH": ("{{ health {{ checks {{ name status message }} }} }}: what {store} holds is unknown meanwhile"),
}

_HEALTH = {
    "ERROR": "{error}",
    "AND": "; ",
    "ALSO": ", ",
    "ANSWERS": "answers",
    "ANSWERS_MIGRATED": "answers and is up to date",
    "NOT_MIGRATED": "is not up to date; run scripts/migrate",
    "LACKS_TOPICS": "answers, but lacks {number} topics: {topics}; run scripts/deploy",
    "BREAKER_IS_OPEN": "{dependency} is open",
    "BREAKER_IS_HALF_OPEN": "{dependency} is half-open",
    "NO_BREAKER_OPEN": "none is open",
    "IN_THIS_PROCESS": " (in this process)",
    "NO_ANSWER_WITHIN": "did not answer within {seconds} seconds",
    "CHECK_FAILED": "failed; the log says why",
    "PUBLISHED_IN_TIME": "messages are published in time",
    "UNPUBLISHED_FOR_A_MINUTE": "messages have not been published for a minute or more",
    "UNPUBLISHED_FOR_TEN_MINUTES": "messages have not been published for 10 minutes or more",
    "SAGAS_STUCK": "some sagas are stuck: a step could not be undone",
    "SAGAS_OVERDUE": "deadlines of sagas passed two minutes ago and have not been fired",
    "NO_SAGA_STUCK": "no saga is stuck or overdue",
    "LETTERS_WAIT": "dead letters wait for an admin",
    "NO_LETTER_WAITS": "no dead letters wait",
    "NO_MESSAGE_WAITS": "no message waits for a provider",
    "PROVIDER_DOES_NOT_ANSWER": "{dependency} does not answer: {messages} message(s) wait",
    "LOG_IN_TIME": "readers of the log see what is committed",
    "LOG_HELD_BACK": (
        "a transaction that began {seconds} seconds ago holds back {events} events: live updates and counts wait "
        "for it; end it, as shared/monitoring/README.md says"
    ),
    "MODEL_AHEAD": "read model {name} is ahead of the event store by {events} events",
    "MODEL_BEHIND": "read model {name} has been behind for {seconds} seconds by {events} events",
    "MODEL_BEHIND_FOR_UNKNOWN": "read model {name} has been behind for an unknown time by {events} events",
    "RESTORE_OR_REBUILD": ": restore them or rebuild; see shared/monitoring/README.md",
    "UNKNOWN_EVENTS": ": this release does not know {events}",
    "QUERY_SERVICE_UP": ": is the query service up?",
    "MODELS_IN_TIME": "none is a minute behind the event store, none is ahead of it",
    "NONE_STOPPED": "none is stopped",
    "ADMIN_HAS_STOPPED": "an admin has stopped ",
    "UNTIL": "{projection} until {at}",
    "START_ENDS_IT": ": startProjection ends it",
    "NOT_HEALTHY": "not healthy: {checks}",
    "READY": "ready",
    "NO_REPORT": "gave no report of its health; it may not be running",
    "VALID": "valid",
}

ENGLISH: Mapping[str, str] = _SAGAS | _WAITING | _TO_DO | _HEALTH
"""The places in braces are the phrase's parts; doubled braces are braces."""
