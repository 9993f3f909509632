# Sign-in to the shop.

resource "google_identity_platform_config" "sign_in" {
  autodelete_anonymous_users = true
  authorized_domains = concat(
    ["${var.project_id}.firebaseapp.com", "${var.project_id}.web.app", trimprefix(local.urls["graphql"], "https://")],
    var.web_domains,
  )

  sign_in {
    allow_duplicate_emails = false
    email {
      enabled           = true
      password_required = true
    }
  }

  depends_on = [google_project_service.api]
}

# The key with which web pages identify the project at sign-in. It is not a secret: every browser gets it, and it gives access
# to sign-in only.
resource "google_apikeys_key" "web" {
  name         = join("-", compact(["shop-web", var.suffix]))
  display_name = "Sign-in to the shop"

  restrictions {
    api_targets {
      service = "identitytoolkit.googleapis.com"
    }
    api_targets {
      service = "securetoken.googleapis.com"
    }
  }

  depends_on = [google_project_service.api]
}
