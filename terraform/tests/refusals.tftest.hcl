# What is refused, and before anything is made.

mock_provider "google" {
  override_during = plan
}
mock_provider "google-beta" {
  override_during = plan
}

variables {
  project_id  = "shop-test-1"
  environment = "staging"
  admin_email = "admin@example.com"
  image       = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

# All wrong values of a kind at once: Terraform names each of them, and a run takes seconds.
run "wrong_values_are_refused_before_anything_is_planned" {
  command = plan
  expect_failures = [
    var.region, var.image, var.project_id, var.environment, var.admin_email, var.functions, var.monthly_budget, var.payment_url,
  ]
  variables {
    region         = "asia-northeast1-a" # a zone
    image          = "asia-northeast1-docker.pkg.dev/shop-test-1/shop/functions:latest"
    project_id     = "My Shop" # a name
    environment    = "production"
    admin_email    = "admin"
    functions      = { creat_order = { max_instances = 1 } }
    monthly_budget = 100 # without a billing account
    payment_url    = "http://payments.example.com"
  }
}

run "further_wrong_values" {
  command         = plan
  expect_failures = [var.region, var.payment_secret]
  variables {
    region         = "eu"                    # a multi-region
    payment_secret = "payment-authorization" # without the provider
  }
}

run "a_key_in_place_of_its_name" {
  command         = plan
  expect_failures = [var.payment_secret]
  variables {
    payment_url    = "https://payments.example.com"
    payment_secret = "Bearer sk_live_1234"
  }
}

run "one_function_that_opens_too_many" {
  command         = plan
  expect_failures = [google_sql_database_instance.postgres]
  variables {
    functions = { create_order = { max_instances = 200 } }
  }
}

run "no_image" {
  command         = plan
  expect_failures = [google_cloud_run_v2_service.function, google_cloud_run_v2_job.migrate]
  variables {
    image = null
  }
}

run "several_requests_at_once_on_half_a_cpu" {
  command         = plan
  expect_failures = [google_cloud_run_v2_service.function]
  variables {
    functions = { create_order = { cpu = 0.5 } }
  }
}

run "google_sign_in_without_its_secret" {
  command         = plan
  expect_failures = [var.google_oauth_secret]
  variables {
    google_oauth_client_id = "123456789012-abc.apps.googleusercontent.com"
  }
}

run "the_value_of_a_secret_in_place_of_its_name" {
  command         = plan
  expect_failures = [var.google_oauth_secret]
  variables {
    google_oauth_client_id = "123456789012-abc.apps.googleusercontent.com"
    google_oauth_secret    = "GOCSPX.secret/value"
  }
}

run "another_client_id_than_google_s" {
  command         = plan
  expect_failures = [var.google_oauth_client_id]
  variables {
    google_oauth_client_id = "my-client"
    google_oauth_secret    = "google-oauth"
  }
}

run "the_sandbox_in_prod_is_warned_of" {
  command         = plan
  expect_failures = [check.providers]
  variables {
    environment = "prod"
  }
}
