# The read models. No document expires (no field has a TTL): products that are no longer sold stay readable.

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
  # Each index is `collection: field, field`, ascending by default. tests/structure/test_indexes.py runs every query of the
  # GraphQL schema and reports missing and unused indexes.
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

# A document may have 40,000 index entries, and a long description has thousands of `grams`. They are only queried
# together with other fields, by the indexes above, so they need no index of their own.
resource "google_firestore_field" "grams" {
  for_each = toset(["categories", "products"])

  database   = google_firestore_database.read_models.name
  collection = each.key
  field      = "grams"

  index_config {}
}

# Clients use GraphQL, so these rules deny them Firestore. They apply to holders of the web key, not to functions.
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
