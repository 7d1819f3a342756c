package kafka

import (
	"net/http"
	"strings"

	"millrace/aws/arn"
	"millrace/aws/door"
	"millrace/aws/kafka/fault"
	"millrace/kafka/kerr"
)

// codeKafkaRequest is what all is told that has no code of its own.
const codeKafkaRequest = "KafkaRequestException"

// toldOfTopic gives the client's error for one of Kafka's; nil: it is none.
func toldOfTopic(err error) *door.Error {
	code := kerr.Of(err)
	fail := func(status int, name, param string) *door.Error {
		return door.Fail(status, name, param, "%s", code.Message())
	}
	switch code {
	case kerr.None, kerr.UnknownServerError:
		return nil
	case kerr.TopicAlreadyExists:
		return fail(http.StatusConflict, fault.CodeTopicExists, "topicName")
	case kerr.UnknownTopicOrPartition:
		return fail(http.StatusNotFound, fault.CodeUnknownTopic, "topicName")
	case kerr.RequestTimedOut:
		return fail(http.StatusConflict, fault.CodeKafkaTimeout, "")
	case kerr.CoordinatorNotAvailable, kerr.LeaderNotAvailable, kerr.NetworkException, kerr.BrokerNotAvailable:
		return fail(http.StatusConflict, fault.CodeConnectivity, "")
	case kerr.NotController:
		return fail(http.StatusConflict, "NotControllerException", "")
	case kerr.ReassignmentInProgress:
		return fail(http.StatusConflict, "ReassignmentInProgressException", "topicName")
	case kerr.GroupSubscribedToTopic:
		return fail(http.StatusConflict, "GroupSubscribedToTopicException", "topicName")
	}
	return fail(http.StatusBadRequest, codeKafkaRequest, "")
}

// topicNeeds are what operations on topics need beside kafka-cluster:Connect: they are Kafka's own permissions.
func (s *Service) topicNeeds(name string) func(*door.Call) []door.Need {
	actions := map[string][]string{
		"CreateTopic":             {"CreateTopic"},
		"ListTopics":              {"DescribeTopic"},
		"DescribeTopic":           {"DescribeTopic", "DescribeTopicDynamicConfiguration"},
		"DescribeTopicPartitions": {"DescribeTopic"},
		"UpdateTopic":             {"DescribeTopic", "AlterTopic", "AlterTopicDynamicConfiguration"},
		"DeleteTopic":             {"DescribeTopic", "DeleteTopic"},
	}[name]
	return func(c *door.Call) []door.Need {
		about := s.topicARN(c)
		needs := make([]door.Need, 0, len(actions))
		for _, a := range actions {
			needs = append(needs, door.Need{Action: "kafka-cluster:" + a, Resource: about})
		}
		return needs
	}
}

// topicARN is that of the topic that a call is about; of a list, all of the cluster. "": it cannot be told.
func (s *Service) topicARN(c *door.Call) string {
	r, err := s.home.Find(c.Params["clusterArn"], arn.Cluster)
	if err != nil {
		return ""
	}
	name := c.Params["topicName"]
	if name == "" {
		if name = "*"; strings.TrimSpace(string(c.Body)) != "" {
			asked, err := door.Decode[struct {
				Name string `json:"topicName"`
			}](c)
			if err != nil {
				return ""
			}
			name = asked.Name
		}
	}
	return s.home.Topic(r.Name, r.ID, name)
}
