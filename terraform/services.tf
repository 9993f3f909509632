# The APIs. scripts/deploy enables the first two before, because Terraform needs them to enable others.
locals {
  apis = toset([
    "cloudresourcemanager.googleapis.com", # the project's number
    "serviceusage.googleapis.com",         # this list
    "apikeys.googleapis.com",              # the key that web pages sign in with
    "artifactregistry.googleapis.com",     # the image
    "billingbudgets.googleapis.com",       # the budget
    "cloudbuild.googleapis.com",           # makes the image
    "cloudscheduler.googleapis.com",       # the schedules
    "cloudtrace.googleapis.com",           # where spans go
    "cloudkms.googleapis.com",             # the key of the persons' keys
    "compute.googleapis.com",              # the network
    "dns.googleapis.com",                  # the functions' addresses inside the network
    "firebaserules.googleapis.com",        # denies clients Firestore
    "firestore.googleapis.com",            # read models
    "iam.googleapis.com",                  # service accounts
    "identitytoolkit.googleapis.com",      # sign-in
    "logging.googleapis.com",              # logs
    "monitoring.googleapis.com",           # metrics, alerts
    "pubsub.googleapis.com",               # messages
    "run.googleapis.com",                  # functions
    "secretmanager.googleapis.com",        # the providers' keys
    "servicenetworking.googleapis.com",    # PostgreSQL's private address
    "sqladmin.googleapis.com",             # PostgreSQL
    "storage.googleapis.com",              # the build's source and log
  ])
}

resource "google_project_service" "api" {
  for_each = local.apis

  service            = each.key
  disable_on_destroy = false # others in the project may use it
}
