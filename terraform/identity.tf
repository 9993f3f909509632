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

# Google accounts, where an OAuth client was made for the shop (terraform/README.md, "Sign in"). Identity Platform keeps a copy of
# its secret, so the state holds it, too; no file and no variable does.
data "google_secret_manager_secret_version" "google_oauth" {
  count = var.google_oauth_client_id == null ? 0 : 1

  secret = var.google_oauth_secret

  depends_on = [google_project_service.api]
}

resource "google_identity_platform_default_supported_idp_config" "google" {
  count = var.google_oauth_client_id == null ? 0 : 1

  idp_id        = "google.com"
  enabled       = true
  client_id     = var.google_oauth_client_id
  client_secret = data.google_secret_manager_secret_version.google_oauth[0].secret_data

  depends_on = [google_identity_platform_config.sign_in]
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
