resource "aws_msk_configuration" "shop" {
  name           = "shop"
  description    = "Brokers of the shop"
  kafka_versions = ["3.9.x"]

  server_properties = <<-EOT
    auto.create.topics.enable=false
    log.retention.ms=604800000
  EOT
}

# Brokers of a size.
resource "aws_msk_cluster" "orders" {
  cluster_name           = "orders"
  kafka_version          = "3.9.x"
  number_of_broker_nodes = var.brokers

  broker_node_group_info {
    instance_type   = "express.m7g.large"
    client_subnets  = ["subnet-a", "subnet-b", "subnet-c"] # names, kept to be read back
    security_groups = ["sg-clients"]
  }

  configuration_info {
    arn      = aws_msk_configuration.shop.arn
    revision = aws_msk_configuration.shop.latest_revision
  }

  client_authentication {
    sasl {
      iam   = true
      scram = true
    }
  }

  encryption_info {
    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  tags = {
    team = "shop"
  }
}

resource "aws_msk_topic" "orders" {
  name               = "orders"
  cluster_arn        = aws_msk_cluster.orders.arn
  partition_count    = 6
  replication_factor = 3

  configs = jsonencode({
    "retention.ms" = "86400000"
  })
}

resource "aws_msk_cluster_policy" "orders" {
  cluster_arn = aws_msk_cluster.orders.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = split(":", aws_msk_cluster.orders.arn)[4] }
      Action    = ["kafka:GetBootstrapBrokers", "kafka:DescribeCluster"]
      Resource  = aws_msk_cluster.orders.arn
    }]
  })
}

# Brokers that follow the load.
resource "aws_msk_serverless_cluster" "clicks" {
  cluster_name = "clicks"

  vpc_config {
    subnet_ids         = ["subnet-a", "subnet-b"]
    security_group_ids = ["sg-clients"]
  }

  client_authentication {
    sasl {
      iam {
        enabled = true
      }
    }
  }

  tags = {
    team = "web"
  }
}
