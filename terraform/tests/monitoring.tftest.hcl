# The dashboard, the alerts and what they stand on. Values that only Google knows are made up here, at plan time.

mock_provider "google" {
  override_during = plan

  mock_resource "google_cloud_run_v2_service" {
    defaults = { uri = "https://shop-graphql-abc-an.a.run.app" }
  }
  mock_resource "google_monitoring_slo" {
    defaults = { id = "projects/shop-test/services/shop-mutations/serviceLevelObjectives/answered" }
  }
  mock_resource "google_monitoring_notification_channel" {
    defaults = { id = "projects/shop-test/notificationChannels/1" }
  }
  mock_data "google_project" {
    defaults = { number = "123456789" }
  }
}

mock_provider "google-beta" {
  override_during = plan
}

variables {
  project_id  = "shop-test"
  environment = "staging"
  admin_email = "admin@example.com"
  image       = "asia-northeast1-docker.pkg.dev/shop-test/shop/functions@sha256:0000000000000000000000000000000000000000000000000000000000000000"
}

run "everything_is_watched_and_every_alert_says_what_to_do" {
  command = plan

  assert {
    condition = (
      length(google_monitoring_metric_descriptor.shop) == length([for one in yamldecode(file("../shared/monitoring/metrics.yaml")) : one if one.known_to == "stores"])
      && length(google_monitoring_metric_descriptor.shop) > 0
    )
    error_message = "A metric of the table in metrics.yaml is not described, or one too many is."
  }

  assert {
    condition = (
      google_monitoring_metric_descriptor.shop["events_total"].metric_kind == "CUMULATIVE"
      && google_monitoring_metric_descriptor.shop["events_total"].value_type == "INT64"
      && [for label in google_monitoring_metric_descriptor.shop["events_total"].labels : label.key] == ["type"]
      && google_monitoring_metric_descriptor.shop["outbox_oldest_age_seconds"].value_type == "DOUBLE"
      && google_monitoring_metric_descriptor.shop["sagas_overdue"].metric_kind == "GAUGE"
      && length(google_monitoring_metric_descriptor.shop["sagas_overdue"].labels) == 0
    )
    error_message = "A metric is described otherwise than report_metrics describes it."
  }

  assert {
    condition = alltrue([
      for one in concat(
        values(google_monitoring_alert_policy.threshold), values(google_monitoring_alert_policy.burn_rate),
        [google_monitoring_alert_policy.errors, google_monitoring_alert_policy.silence, google_monitoring_alert_policy.unreachable],
      ) :
      length(regexall("\\*\\*First[:*]", one.documentation[0].content)) == 1
      && length(regexall("`|gcloud ", one.documentation[0].content)) > 0
      && one.notification_channels == tolist(["projects/shop-test/notificationChannels/1"])
      && length(one.documentation[0].content) < 8192
      && one.severity != null
    ])
    error_message = "An alert does not say what to do first, or notifies no channel."
  }

  assert {
    condition = toset(keys(google_monitoring_alert_policy.threshold)) == toset([
      "dead_letters", "unacked", "outbox_age", "stuck_saga", "overdue_sagas", "projection_lag", "projection_ahead",
      "log_held_back", "connections", "disk", "client_errors", "full", "door_full", "dead_door",
    ])
    error_message = "An alert is missing."
  }

  assert {
    condition = alltrue([
      for query in concat(
        [for one in values(google_monitoring_alert_policy.threshold) : one.conditions[0].condition_prometheus_query_language[0]],
        [for one in [google_monitoring_alert_policy.errors, google_monitoring_alert_policy.silence] : one.conditions[0].condition_prometheus_query_language[0]],
      ) :
      query.disable_metric_validation
      && length(regexall("_googleapis_com:\\w+{monitored_resource=", query.query)) == length(regexall("_googleapis_com:", query.query))
      && length(regexall("_googleapis_com:", query.query)) > 0
    ])
    error_message = "An alert waits for its metric, or asks for it without the kind of resource."
  }

  assert {
    condition = (
      length(regexall("response_code=\"429\"", google_monitoring_alert_policy.threshold["full"].conditions[0].condition_prometheus_query_language[0].query)) == 1
      && can(regex("full_match\\(\"5..\\|429\"\\)", google_monitoring_slo.mutations.request_based_sli[0].good_total_ratio[0].bad_service_filter))
      && can(regex("service_name=\"shop-graphql\"}.*>= 10", google_monitoring_alert_policy.threshold["door_full"].conditions[0].condition_prometheus_query_language[0].query))
      && startswith(google_monitoring_alert_policy.threshold["dead_door"].conditions[0].condition_prometheus_query_language[0].query, "absent(")
    )
    error_message = "Full functions or a dead door are not noticed."
  }

  assert {
    condition = alltrue([
      for name, one in google_logging_metric.shop :
      jsonencode(keys(one.label_extractors == null ? {} : one.label_extractors)) == jsonencode(sort(local.metric_table[name].labels))
      && jsonencode(sort([for label in one.metric_descriptor[0].labels : label.key])) == jsonencode(sort(local.metric_table[name].labels))
      && one.metric_descriptor[0].value_type == (local.metric_table[name].kind == "histogram" ? "DISTRIBUTION" : "INT64")
      && length(one.bucket_options) == (local.metric_table[name].kind == "histogram" ? 1 : 0)
    ]) && length(google_logging_metric.shop) > 5
    error_message = "A metric is counted from the log with other labels than at /metrics."
  }

  assert {
    condition     = google_monitoring_notification_channel.email.labels.email_address == "admin@example.com"
    error_message = "Without alert_email the admin is told."
  }

  assert {
    condition = (
      endswith(google_monitoring_alert_policy.threshold["connections"].conditions[0].condition_prometheus_query_language[0].query, "[2m])) > 416")
      && var.database_max_connections == 520
    )
    error_message = "The alert comes when there are no connections left."
  }

  assert {
    condition = alltrue([
      for name, one in local.functions :
      (one.group == "commands") == (length(regexall("\"${one.service_name}\"", google_monitoring_slo.mutations.request_based_sli[0].good_total_ratio[0].total_service_filter)) == 1)
    ])
    error_message = "The objective leaves a command function out, or counts another one."
  }

  assert {
    condition = alltrue([
      for name, one in google_monitoring_alert_policy.burn_rate :
      one.combiner == "AND" && length(one.conditions) == 2 && length(distinct(one.conditions[*].condition_threshold[0].filter)) == 2
    ])
    error_message = "A burn rate is looked at in two windows."
  }

  assert {
    condition = alltrue([
      for metric in [
        "run_googleapis_com:request_count", "run_googleapis_com:request_latencies_bucket", "custom_googleapis_com:shop_projection_lag_seconds",
        "custom_googleapis_com:shop_outbox_oldest_age_seconds", "custom_googleapis_com:shop_sagas", "custom_googleapis_com:shop_dead_letters_pending",
        "cloudsql_googleapis_com:database_postgresql_num_backends", "pubsub_googleapis_com:subscription_oldest_unacked_message_age",
      ] : length(regexall("\\(${metric}{", google_monitoring_dashboard.shop.dashboard_json)) > 0
    ])
    error_message = "Something is missing on the dashboard."
  }

  assert {
    condition     = length(regexall(":0[,}]", google_monitoring_dashboard.shop.dashboard_json)) == 0
    error_message = "Cloud Monitoring leaves zeros out, and each plan would put them back."
  }

  assert {
    condition = (
      google_monitoring_uptime_check_config.graphql.monitored_resource[0].labels.host == "shop-graphql-abc-an.a.run.app"
      && google_monitoring_uptime_check_config.graphql.http_check[0].path == "/health/ready"
    )
    error_message = "The uptime check asks another address."
  }

  assert {
    condition     = length(google_billing_budget.monthly) == 0
    error_message = "There is a budget although none is set."
  }
}

run "an_alert_address_and_a_budget" {
  command = plan

  variables {
    alert_email     = "on-call@example.com"
    billing_account = "012345-6789AB-CDEF01"
    monthly_budget  = 120.5
  }

  assert {
    condition     = google_monitoring_notification_channel.email.labels.email_address == "on-call@example.com"
    error_message = "alert_email is not told."
  }

  assert {
    condition = (
      one(google_billing_budget.monthly[*].amount[0].specified_amount[0].units) == "120"
      && one(google_billing_budget.monthly[*].amount[0].specified_amount[0].nanos) == 500000000
      && one(google_billing_budget.monthly[*].budget_filter[0].projects) == toset(["projects/123456789"])
      && length(one(google_billing_budget.monthly[*].display_name)) <= 60
    )
    error_message = "The budget is another amount, or another project's."
  }
}
