# The alerts, and what to do first about each. Each text names an existing command or query (a test checks it).

locals {
  # GraphQL errors that are the shop's fault; all others are the client's.
  faults_at_the_door = replace(local.of_log["shop_errors_total"], "}", ",function=\"graphql\",code=~\"INTERNAL_ERROR|SERVICE_UNAVAILABLE|TIMEOUT\"}")

  ask = "as an admin, at ${google_cloud_run_v2_service.function["graphql"].uri}/graphql"

  # The log of one function, newest first.
  log_of = {
    for name, function in local.functions : name => join(" ", [
      "gcloud logging read 'resource.type=\"cloud_run_revision\" resource.labels.service_name=\"${function.service_name}\" severity>=WARNING'",
      "--project ${var.project_id} --freshness 1h --limit 20",
    ])
  }
  dead_letters = "scripts/dead-letters list --status pending --url ${google_cloud_run_v2_service.function["graphql"].uri}/graphql"

  # Alert when the query (PromQL) has a value for as long as `lasting`. Measurements come every minute and may be late, so
  # the greatest of two minutes counts.
  thresholds = {
    dead_letters = {
      title    = "Messages that nobody could deliver wait for a person"
      severity = "WARNING"
      query    = "max (max_over_time(${local.of_shop["dead_letters_pending"]}[2m])) > 0"
      lasting  = "0s"
      first    = <<-EOT
        `${local.dead_letters}` shows which consumers failed, and why (SHOP_TOKEN: an admin's ID token). No other message waits
        for them, but their work is not done. Fix the cause, then `scripts/dead-letters retry-all --source SOURCE`.
      EOT
    }
    unacked = {
      title    = "A message waits for ten minutes"
      severity = "ERROR"
      query    = "max by (subscription_id) (max_over_time(${local.of_subscriptions["oldest_unacked_message_age"]}[2m])) > 600"
      lasting  = "60s"
      first    = <<-EOT
        A failing message becomes a dead letter after about nine minutes, so this one has not even been attempted often enough.
        The subscription's name is its consumer and its topic: does that function exist, and does it answer? Its log, for example:

            ${local.log_of["order_saga"]}

        403 there, or no lines: the push account's `run.invoker` or Pub/Sub's rights on the dead-letter topic are missing;
        `terraform plan` in terraform/ shows the difference. 429: the function is at its `max_instances`.
      EOT
    }
    outbox_age = {
      title    = "Messages are not published"
      severity = "CRITICAL"
      query    = "max by (outbox) (max_over_time(${local.of_shop["outbox_oldest_age_seconds"]}[2m])) > 180"
      lasting  = "60s"
      first    = <<-EOT
        Orders are accepted but not processed. relay_outbox publishes the remaining messages every minute; see why it does not:

            ${local.log_of["relay_outbox"]}
            gcloud scheduler jobs list --location ${var.region} --project ${var.project_id}

        No message is lost: all are published when the cause is fixed.
      EOT
    }
    stuck_saga = {
      title    = "A saga is stuck"
      severity = "ERROR"
      query    = "max (max_over_time(${replace(local.of_shop["sagas"], "}", ",status=\"STUCK\"}")}[2m])) > 0"
      lasting  = "0s"
      first    = <<-EOT
        A compensation was never answered, and the order keeps what it has, perhaps the customer's money. Query, ${local.ask}:
        `{ sagas(status: "STUCK") { id state } }`. Fix the cause (`${local.dead_letters}` shows the messages that
        its step could not process), then `mutation { retrySaga(id: "ID") { status } }` for each.
      EOT
    }
    overdue_sagas = {
      title    = "Deadlines of sagas are not fired"
      severity = "ERROR"
      query    = "max (max_over_time(${local.of_shop["sagas_overdue"]}[2m])) > 0"
      lasting  = "180s"
      first    = <<-EOT
        sweep_sagas fires them every minute; see why it does not:

            ${local.log_of["sweep_sagas"]}
            gcloud scheduler jobs list --location ${var.region} --project ${var.project_id}
      EOT
    }
    projection_lag = {
      title    = "What was written is not seen"
      severity = "ERROR"
      query    = "max by (read_model) (max_over_time(${local.of_shop["projection_lag_seconds"]}[2m])) > 300"
      lasting  = "120s"
      first    = <<-EOT
        The projection of that read model (project_categories, project_products, project_orders or project_sales) fails or is too slow. Its log
        says which, for example:

            ${local.log_of["project_orders"]}

        No line there: does Firestore answer? Query, ${local.ask}: `{ health { checks { name status message } } }`.
        Any later event of the same stream brings the document up to date, as does retrying the dead letter.
      EOT
    }
    projection_ahead = {
      title    = "A read model is ahead of the event store"
      severity = "CRITICAL"
      query    = "max by (read_model) (max_over_time(${local.of_shop["projection_ahead_events"]}[15m])) > 0" # counted every ten minutes
      lasting  = "60s"
      first    = <<-EOT
        The event store has lost events that this read model has applied: it was restored to an earlier moment. Queries show what is
        no longer there, and new events of those streams are not applied. Rebuild every read model that is ahead; query, ${local.ask}:
        `{ projectionStatus { name status aheadEvents } }`, then `mutation { rebuildProjection(name: "project_orders", switchWhenEqual: true) { status } }`.
      EOT
    }
    log_held_back = {
      title    = "A long transaction holds back the log"
      severity = "ERROR"
      query    = "max (max_over_time(${local.of_shop["log_transaction_age_seconds"]}[2m])) > 120"
      lasting  = "60s"
      first    = <<-EOT
        Readers of the log stop below the oldest running transaction of the server, in whichever of its databases. Live updates, rebuilds
        and counts wait for it; commands, sagas and queries do not. No function's transaction lasts longer than 15 seconds, so it is
        a person's, a program's or a prepared one. Find it and end it:

            gcloud sql connect ${google_sql_database_instance.postgres.name} --project ${var.project_id}
            SELECT pid, datname, usename, state, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start LIMIT 5;
            SELECT pg_terminate_backend(PID);
            SELECT gid, prepared, database FROM pg_prepared_xacts;

        A prepared transaction ends with `ROLLBACK PREPARED 'GID'`, in its own database.
      EOT
    }
    client_errors = {
      title    = "Clients get errors that are the shop's fault"
      severity = "ERROR"
      query    = <<-EOT
        sum (increase(${local.faults_at_the_door}[5m])) > 5
        and
        sum (increase(${local.faults_at_the_door}[5m])) / sum (increase(${local.of_log["shop_graphql_requests_total"]}[5m])) > 0.05
      EOT
      lasting  = "120s"
      first    = <<-EOT
        More than 5 of 100 GraphQL requests were answered with INTERNAL_ERROR, SERVICE_UNAVAILABLE or TIMEOUT, which Cloud Run
        counts as answered. graphql's log says which function or store did not answer:

            ${local.log_of["graphql"]}

        The alerts "A function is full" and "A function fails" come at the same time if it is a function. Otherwise query,
        ${local.ask}: `{ health { status checks { name status message } } }`.
      EOT
    }
    full = {
      title    = "A function is full"
      severity = "ERROR"
      query    = <<-EOT
        sum by (service_name) (increase(${replace(local.of_run["request_count"], "}", ",response_code=\"429\",service_name!=\"${local.functions["graphql"].service_name}\"}")}[5m])) > 10
      EOT
      lasting  = "120s"
      first    = <<-EOT
        Cloud Run refused requests with 429, because the function has all its instances and they are busy. Messages are retried
        and finally become dead letters; commands are answered with SERVICE_UNAVAILABLE. See how long its requests take on the
        dashboard "Shop". If each got slower, see what it waits for, its log, for example:

            ${local.log_of["order_saga"]}

        Otherwise there is more work than before: raise its `max_instances` in functions/manifest.yaml and run scripts/deploy.
      EOT
    }
    door_full = {
      title    = "GraphQL has all its instances"
      severity = "ERROR"
      query    = <<-EOT
        sum (max_over_time(${replace(local.of_run["container_instance_count"], "}", ",state=\"active\",service_name=\"${local.functions["graphql"].service_name}\"}")}[2m])) >= ${local.functions["graphql"].max_instances}
      EOT
      lasting  = "300s"
      first    = <<-EOT
        Clients get 429 soon, or already do. Streams of subscriptions hold an instance too. If one client causes it, its requests
        are limited to a rate; otherwise raise `max_instances` of graphql in functions/manifest.yaml and run scripts/deploy.
        See who asks, and for what:

            gcloud logging read 'resource.type="cloud_run_revision" resource.labels.service_name="${local.functions["graphql"].service_name}" jsonPayload.message="request"' --project ${var.project_id} --freshness 10m --limit 50
      EOT
    }
    dead_door = {
      title    = "No request is answered"
      severity = "CRITICAL"
      query    = <<-EOT
        absent(sum (increase(${replace(local.of_run["request_count"], "}", ",response_code_class=\"2xx\",service_name=\"${local.functions["graphql"].service_name}\"}")}[15m])) > 0)
      EOT
      lasting  = "120s"
      first    = <<-EOT
        Not even the uptime check, which asks all the time, got an answer for 15 minutes. Either it is gone or graphql is: was its
        ingress closed, was it deleted, or does no instance start?

            curl -i ${google_cloud_run_v2_service.function["graphql"].uri}/health/ready
            gcloud run services describe ${local.functions["graphql"].service_name} --region ${var.region} --project ${var.project_id}
            gcloud monitoring uptime list-configs --project ${var.project_id}
      EOT
    }
    connections = {
      title    = "Database connections run out"
      severity = "ERROR"
      query    = "sum (max_over_time(${local.of_database["postgresql_num_backends"]}[2m])) > ${floor(0.8 * var.database_max_connections)}"
      lasting  = "120s"
      first    = <<-EOT
        More than 80 % of ${var.database_max_connections} are in use; past the limit functions answer SERVICE_UNAVAILABLE. See which users hold them:

            gcloud sql connect ${google_sql_database_instance.postgres.name} --project ${var.project_id}
            SELECT usename, state, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC;

        Many `idle in transaction`: a function hangs, see its log. Otherwise there are more instances than planned (another program
        on this database?): lower `max_instances` or `pool_size` in functions/manifest.yaml, or choose a larger tier.
      EOT
    }
    disk = {
      title    = "The database's disk fills up"
      severity = "WARNING"
      query    = "max (max_over_time(${local.of_database["disk_utilization"]}[2m])) > 0.9"
      lasting  = "600s"
      first    = <<-EOT
        The disk grows by itself, so it has reached its limit or cannot grow. See its size and its limit:

            gcloud sql instances describe ${google_sql_database_instance.postgres.name} --project ${var.project_id} --format 'value(settings.dataDiskSizeGb, settings.storageAutoResizeLimit)'
      EOT
    }
  }
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = local.thresholds

  display_name          = each.value.title
  severity              = each.value.severity
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.email.id]
  user_labels           = local.labels

  conditions {
    display_name = each.value.title
    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = each.value.lasting
      evaluation_interval       = "60s"
      disable_metric_validation = true # a new metric is unknown for some minutes, and one that was never written for ever
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "**First:** ${each.value.first}"
  }

  alert_strategy {
    auto_close = "86400s"
  }
}

# A ratio alone would alert on a single failure at night, so a minimum number is required, too.
resource "google_monitoring_alert_policy" "errors" {
  display_name          = "A function fails"
  severity              = "ERROR"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.email.id]
  user_labels           = local.labels

  conditions {
    display_name = "More than 5 of 100 requests of one function fail, and more than 5 in five minutes"
    condition_prometheus_query_language {
      query                     = <<-EOT
        sum by (service_name) (increase(${local.failed_requests}[5m])) > 5
        and
        sum by (service_name) (increase(${local.failed_requests}[5m])) / sum by (service_name) (increase(${local.of_run["request_count"]}[5m])) > 0.05
      EOT
      duration                  = "120s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      **First:** its log says why; replace shop-create-order with the function's name from the incident:

          ${local.log_of["create_order"]}

      Messages are retried and finally become dead letters, so none is lost. If it began with a deployment:
      `scripts/deploy ${var.project_id} --rollback`.
    EOT
  }

  alert_strategy {
    auto_close = "86400s"
  }
}

# Without measurements, no alert on the shop's own metrics can fire.
resource "google_monitoring_alert_policy" "silence" {
  display_name          = "Nobody measures the shop"
  severity              = "ERROR"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.email.id]
  user_labels           = local.labels

  conditions {
    display_name = "report_metrics has written nothing for ten minutes"
    condition_prometheus_query_language {
      query                     = "absent_over_time(${local.of_shop["sagas_overdue"]}[10m])"
      duration                  = "60s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      **First:** see why report_metrics does not write; until it does, no alert on outboxes, sagas, dead letters and projections can come:

          ${local.log_of["report_metrics"]}
          gcloud scheduler jobs list --location ${var.region} --project ${var.project_id}

      If it can't read one store, the metrics of that one are missing and its log says which; this metric is the command database's.
    EOT
  }

  alert_strategy {
    auto_close = "86400s"
  }
}

resource "google_monitoring_alert_policy" "unreachable" {
  display_name          = "Clients can't reach the shop"
  severity              = "CRITICAL"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.email.id]
  user_labels           = local.labels

  conditions {
    display_name = "${google_monitoring_uptime_check_config.graphql.display_name}: fails from two places"
    condition_threshold {
      filter = join(" AND ", [
        "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\"",
        "resource.type=\"uptime_url\"",
        "metric.labels.check_id=\"${google_monitoring_uptime_check_config.graphql.uptime_check_id}\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "60s"

      aggregations {
        alignment_period     = "1200s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = <<-EOT
      **First:** `curl -i ${google_cloud_run_v2_service.function["graphql"].uri}/health/ready` says which store does not answer. If there is no answer:

          ${local.log_of["graphql"]}
          gcloud run services describe ${local.functions["graphql"].service_name} --region ${var.region} --project ${var.project_id}
    EOT
  }

  alert_strategy {
    auto_close = "86400s"
  }
}
