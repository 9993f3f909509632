# The descriptors of the metrics that report_metrics writes. They are read from the table that the code reads, so name, kind,
# unit and labels are the same.
#
# If report_metrics ever runs first, Cloud Monitoring makes descriptors of what it writes, and Terraform adds unit and text.
locals {
  metric_table = yamldecode(file("${path.module}/../shared/monitoring/metrics.yaml"))
  metrics = {
    for name, one in local.metric_table : trimprefix(name, "shop_") => {
      kind   = { counter = "CUMULATIVE", gauge = "GAUGE" }[one.kind]
      unit   = one.unit
      value  = { "1" = "INT64", s = "DOUBLE" }[one.unit]
      labels = one.labels
      help   = one.help
    } if one.known_to == "stores"
  }
}

resource "google_monitoring_metric_descriptor" "shop" {
  for_each = local.metrics

  type         = "custom.googleapis.com/shop/${each.key}"
  metric_kind  = each.value.kind
  value_type   = each.value.value
  unit         = each.value.unit
  display_name = "shop_${each.key}"
  description  = each.value.help

  dynamic "labels" {
    for_each = each.value.labels
    content {
      key = labels.value
    }
  }

  depends_on = [google_project_service.api]
}

# What each process counts for itself is lost with the process, and no program asks a function in the cloud for its /metrics.
# So Cloud Logging counts the lines that functions write, by the same labels: `logged` in the table says which lines.
resource "google_logging_metric" "shop" {
  for_each = { for name, one in local.metric_table : name => one if can(one.logged) }

  name            = each.key
  description     = each.value.help
  filter          = "resource.type=\"cloud_run_revision\" AND ${each.value.logged}"
  value_extractor = each.value.kind == "histogram" ? "EXTRACT(jsonPayload.seconds)" : null
  label_extractors = {
    for label in each.value.labels : label => "EXTRACT(jsonPayload.${label})"
  }

  metric_descriptor {
    display_name = each.key
    metric_kind  = "DELTA"
    value_type   = each.value.kind == "histogram" ? "DISTRIBUTION" : "INT64"
    unit         = each.value.unit

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.value
        value_type = "STRING"
      }
    }
  }

  dynamic "bucket_options" {
    for_each = each.value.kind == "histogram" ? [true] : []
    content {
      explicit_buckets {
        bounds = local.buckets
      }
    }
  }

  depends_on = [google_project_service.api]
}

# The selectors of the policies and the dashboard, in PromQL: `custom.googleapis.com/shop/sagas` is called
# `custom_googleapis_com:shop_sagas` there. The shop's own metrics are named by their resources, so that Terraform finds a wrong
# name. A metric of several kinds of resources must be asked for with `monitored_resource`.
locals {
  buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50] # seconds, as in shared/monitoring/metrics.py

  of_shop = {
    for name, one in google_monitoring_metric_descriptor.shop : name => "custom_googleapis_com:shop_${name}{monitored_resource=\"global\"}"
  }
  of_log = {
    for name, one in google_logging_metric.shop : name => "logging_googleapis_com:user_${one.name}{monitored_resource=\"cloud_run_revision\"}"
  }
  of_run = {
    for name in ["request_count", "request_latencies_bucket", "container_instance_count"] :
    name => "run_googleapis_com:${name}{monitored_resource=\"cloud_run_revision\",service_name=~\"shop-.+\"}"
  }
  failed_requests = replace(local.of_run["request_count"], "}", ",response_code_class=\"5xx\"}")
  of_subscriptions = {
    for name in ["oldest_unacked_message_age", "num_undelivered_messages"] :
    name => "pubsub_googleapis_com:subscription_${name}{monitored_resource=\"pubsub_subscription\"}"
  }
  of_database = {
    for name in ["postgresql_num_backends", "cpu_utilization", "disk_utilization"] : name => join("", [
      "cloudsql_googleapis_com:database_${name}{monitored_resource=\"cloudsql_database\",",
      "database_id=\"${var.project_id}:${google_sql_database_instance.postgres.name}\"}",
    ])
  }
}
