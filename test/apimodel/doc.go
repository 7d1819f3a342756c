// Package apimodel holds the doors of the AWS API to the service models that ship inside botocore, as AWS publishes them: the table of
// operations, the shapes of answers, and what of a request is refused.
//
// Flow: the scenario of aws/kafka/kafkatest is played against the service; testdata/model.py, run by the Python of test/harness, reads the calls
// and the answers, says what does not keep to the model, and makes of each call every request that is wrong in one place; each of these is
// asked of a service in the state that the call found, must be answered with 400, and must have changed nothing.
//
// It needs python3 with botocore (harness.Python); without it is skipped, unless MILLRACE_TEST_REQUIRE=all.
package apimodel
