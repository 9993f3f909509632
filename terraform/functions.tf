# One Cloud Run service per function, all from the same image: what differs is which file it loads.

locals {
  # Known before the services are: https://SERVICE-PROJECT_NUMBER.REGION.run.app
  url_of_services = "https://shop-{service}-${data.google_project.this.number}.${var.region}.run.app"
  urls            = { for name, function in local.functions : name => replace(local.url_of_services, "shop-{service}", function.service_name) }
}

data "google_project" "this" {
  project_id = var.project_id
}

resource "google_cloud_run_v2_service" "function" {
  for_each = local.functions

  name     = each.value.service_name
  location = var.region
  labels   = local.labels

  template {
    max_instance_request_concurrency = each.value.concurrency
    timeout                          = "${each.value.timeout_seconds}s"

    scaling {
      min_instance_count = each.value.min_instances
      max_instance_count = each.value.max_instances
    }

    containers {
      image = var.image
    }
  }
}
