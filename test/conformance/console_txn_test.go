package conformance

import (
	"context"
	"strconv"
	"strings"
)

const transactionsCommand = "org.apache.kafka.tools.TransactionsCommand"

// table runs the tool for transactions and returns the cells of the rows that it prints under the heading.
func (c *console) table(ctx context.Context, args ...string) ([][]string, error) {
	out, err := c.tool(ctx, nil, transactionsCommand, args...)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.Lines(out) {
		rows = append(rows, strings.Fields(line))
	}
	if len(rows) == 0 {
		return nil, &clientError{Code: localError, Message: "the tool prints nothing"}
	}
	return rows[1:], nil
}

// number reads a cell; the tool prints None for what is not there.
func number(cell string) int64 {
	value, err := strconv.ParseInt(cell, 10, 64)
	if err != nil {
		return -1
	}
	return value
}

// describeTransaction reads CoordinatorId, TransactionalId, ProducerId, ProducerEpoch, TransactionState, TransactionTimeoutMs.
func (c *console) describeTransaction(ctx context.Context, r request) (any, error) {
	rows, err := c.table(ctx, "describe", "--transactional-id", r.ID)
	if err != nil {
		return nil, err
	}
	return map[string]any{"state": rows[0][4], "epoch": number(rows[0][3]), "timeout_ms": number(rows[0][5])}, nil
}

// listTransactions reads TransactionalId, Coordinator, ProducerId, TransactionState.
func (c *console) listTransactions(ctx context.Context, _ request) (any, error) {
	rows, err := c.table(ctx, "list")
	states := make(map[string]string)
	for _, row := range rows {
		states[row[0]] = row[3]
	}
	return map[string]any{"states": states}, err
}

// describeProducers reads ProducerId, ProducerEpoch, LatestCoordinatorEpoch, LastSequence, LastTimestamp, CurrentTransactionStartOffset.
func (c *console) describeProducers(ctx context.Context, r request) (any, error) {
	rows, err := c.table(ctx, "describe-producers", "--topic", r.Topic, "--partition", strconv.Itoa(int(r.Partition)))
	var producers []map[string]int64
	for _, row := range rows {
		producers = append(producers, map[string]int64{"epoch": number(row[1]), "sequence": number(row[3]), "start": number(row[5])})
	}
	return map[string]any{"producers": producers}, err
}

func (c *console) abortTransaction(ctx context.Context, r request) (any, error) {
	_, err := c.tool(ctx, nil, transactionsCommand, "abort", "--topic", r.Topic, "--partition", strconv.Itoa(int(r.Partition)),
		"--start-offset", strconv.FormatInt(r.Before, 10))
	return nil, err
}
