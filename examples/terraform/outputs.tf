output "orders_bootstrap_iam" {
  description = "bootstrap.servers of clients that log in by IAM"
  value       = aws_msk_cluster.orders.bootstrap_brokers_sasl_iam
}

output "orders_bootstrap_scram" {
  description = "bootstrap.servers of clients that log in by SCRAM"
  value       = aws_msk_cluster.orders.bootstrap_brokers_sasl_scram
}

output "clicks_arn" {
  value = aws_msk_serverless_cluster.clicks.arn
}
