# The read models. Nothing in them expires by itself (so no field has a TTL): what is no longer sold stays readable.

resource "google_firestore_database" "read_models" {
  name                    = "(default)"
  location_id             = var.region
  type                    = "FIRESTORE_NATIVE"
  delete_protection_state = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy         = "DELETE"

  lifecycle {
    prevent_destroy = true # see README.md
  }

  depends_on = [google_project_service.api]
}

locals {
  # Each as `collection: field, field`, ascending unless it says otherwise. tests/structure/test_indexes.py asks every query
  # of the GraphQL schema and says which are missing here and which are too many.
  indexes = merge([
    for collection, indexes in yamldecode(file("${path.module}/indexes.yaml")) : {
      for index in indexes : "${collection}: ${index}" => {
        collection = collection
        fields = [
          for field in split(", ", index) : {
            path  = split(" ", field)[0]
            order = try(split(" ", field)[1], "ascending")
          }
        ]
      }
    }
  ]...)
}

resource "google_firestore_index" "index" {
  for_each = local.indexes

  database   = google_firestore_database.read_models.name
  collection = each.value.collection

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path   = fields.value.path
      order        = fields.value.order == "contains" ? null : upper(fields.value.order)
      array_config = fields.value.order == "contains" ? "CONTAINS" : null
    }
  }
}

# A document may have 40,000 index entries, and a long description has thousands of `grams`. They are only ever looked up
# together with other fields, by the indexes above, so they need no index of their own.
resource "google_firestore_field" "grams" {
  for_each = toset(["categories", "products"])

  database   = google_firestore_database.read_models.name
  collection = each.key
  field      = "grams"

  index_config {}
}

# Clients come through GraphQL. Functions are not subject to these rules; whoever has the web key is.
resource "google_firebaserules_ruleset" "nobody" {
  source {
    files {
      name    = "firestore.rules"
      content = <<-RULES
        rules_version = '2';
        service cloud.firestore {
          match /databases/{database}/documents {
            match /{document=**} {
              allow read, write: if false;
            }
          }
        }
      RULES
    }
  }

  depends_on = [google_firestore_database.read_models]
}

resource "google_firebaserules_release" "firestore" {
  name         = "cloud.firestore"
  ruleset_name = google_firebaserules_ruleset.nobody.name

  lifecycle {
    replace_triggered_by = [google_firebaserules_ruleset.nobody]
  }
}
