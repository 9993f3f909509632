# The key that encrypts the keys of persons (shared/erasure/README.md). Without it no order says anything about its person,
# in the database or in a backup, so it has the last lock of the data, and Google waits 30 days before it destroys a version.

resource "google_kms_key_ring" "shop" {
  name     = join("-", compact(["shop", var.suffix]))
  location = var.region

  depends_on = [google_project_service.api]
}

resource "google_kms_crypto_key" "persons" {
  name     = "persons"
  key_ring = google_kms_key_ring.shop.id
  labels   = local.labels

  lifecycle {
    prevent_destroy = true # see README.md
  }
}

locals {
  # Functions that read or write what orders say about persons; shared/erasure/sql/always_grants.sql has the same kinds.
  reads_persons = {
    for name, function in local.functions : name => function
    if contains(function.databases, "command_database") && contains(function.databases, "event_store")
    && length(setintersection(function.access, local.kinds_that_read_persons)) > 0
    && (function.group != "projections" || contains(function.topics, "order-events"))
  }
  kinds_that_read_persons = ["graphql", "ordering", "projections", "sagas", "coordination", "rebuilding", "erasure", "reporting"]

  # The first of these makes the wrapping key.
  makes_keys = [for name, function in local.reads_persons : name if length(setintersection(function.access, ["ordering", "sagas"])) > 0]
}

resource "google_kms_crypto_key_iam_member" "reads_persons" {
  for_each = merge(
    { for name in keys(local.reads_persons) : name => google_service_account.function[name].email },
    { migrate = google_service_account.migrate.email }, # encrypts orders from before
  )

  crypto_key_id = google_kms_crypto_key.persons.id
  role = (
    contains(concat(local.makes_keys, ["migrate"]), each.key)
    ? "roles/cloudkms.cryptoKeyEncrypterDecrypter" : "roles/cloudkms.cryptoKeyDecrypter"
  )
  member = "serviceAccount:${each.value}"
}
