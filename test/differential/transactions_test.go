package differential

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"millrace/kafka/record"
)

// transactionScripts lists the scripts about transactions.
func transactionScripts() []script {
	return []script{
		{name: "transactions/first", run: firstTransactions},
		{name: "transactions/second", run: secondTransactions},
		{name: "transactions/init", run: initTransactions},
		{name: "transactions/offsets", run: transactionalOffsets},
		{name: "transactions/fencing", run: transactionFencing},
		{name: "transactions/markers", run: writtenMarkers},
		{name: "transactions/verify", run: verifyOnly},
	}
}

// producer is a transactional producer.
type producer struct {
	txn   string
	id    int64
	epoch int16
}

// initTxn gets a producer its id; it asks again while the last transaction is ending.
func (r *run) initTxn(label string, version int16, txn string, id int64, epoch int16) producer {
	p := until(r, label, version, func() kmsg.Request {
		q := kmsg.NewPtrInitProducerIDRequest()
		q.TransactionalID, q.TransactionTimeoutMillis, q.ProducerID, q.ProducerEpoch = &txn, 60_000, id, epoch
		return q
	}, func(p *kmsg.InitProducerIDResponse) bool { return !passing(p.ErrorCode) })
	return producer{txn, p.ProducerID, p.ProducerEpoch}
}

func (r *run) initNew(label string, version int16, txn string) producer {
	return r.initTxn(label, version, txn, -1, -1)
}

func (r *run) addPartitions(label string, version int16, p producer, topic string, partitions ...int32) {
	until(r, label, version, func() kmsg.Request {
		q := kmsg.NewPtrAddPartitionsToTxnRequest()
		q.TransactionalID, q.ProducerID, q.ProducerEpoch = p.txn, p.id, p.epoch
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		q.Topics = append(q.Topics, t)
		return q
	}, func(p *kmsg.AddPartitionsToTxnResponse) bool {
		return len(p.Topics) != 1 || len(p.Topics[0].Partitions) == 0 || !passing(p.Topics[0].Partitions[0].ErrorCode)
	})
}

func (r *run) addOffsets(label string, version int16, p producer, group string) {
	until(r, label, version, func() kmsg.Request {
		q := kmsg.NewPtrAddOffsetsToTxnRequest()
		q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group = p.txn, p.id, p.epoch, group
		return q
	}, func(p *kmsg.AddOffsetsToTxnResponse) bool { return !passing(p.ErrorCode) })
}

// tryOffsets sends a commit of offsets; it asks again while the last transaction is ending, which takes a moment after all its
// offsets are there.
func (r *run) tryOffsets(label string, version int16, q *kmsg.TxnOffsetCommitRequest) {
	until(r, label, version, func() kmsg.Request { return q }, func(p *kmsg.TxnOffsetCommitResponse) bool {
		return len(p.Topics) != 1 || len(p.Topics[0].Partitions) == 0 || !passing(p.Topics[0].Partitions[0].ErrorCode)
	})
}

// commitOffsets commits offsets in a transaction, for nobody of the group.
func (r *run) commitOffsets(label string, version int16, p producer, group string, offset int64) {
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group, q.Generation = p.txn, p.id, p.epoch, group, -1
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.TopicID = fixTopic, r.id(fixTopic)
	one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	one.Offset, one.LeaderEpoch = offset, -1
	t.Partitions = append(t.Partitions, one)
	q.Topics = append(q.Topics, t)
	r.tryOffsets(label, version, q)
}

// end ends the transaction, and returns the producer with the epoch that it goes on with.
func (r *run) end(label string, version int16, p producer, commit bool) producer {
	got := until(r, label, version, func() kmsg.Request {
		q := kmsg.NewPtrEndTxnRequest()
		q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Commit = p.txn, p.id, p.epoch, commit
		return q
	}, func(p *kmsg.EndTxnResponse) bool { return !passing(p.ErrorCode) })
	if version >= 5 && got.ErrorCode == 0 && got.ProducerID >= 0 {
		p.id, p.epoch = got.ProducerID, got.ProducerEpoch
	}
	return p
}

// transactional produces a batch of a transaction.
func (r *run) transactional(label string, version int16, p producer, topic string, partition, sequence int32) {
	o := record.Options{Transactional: true, Producer: &record.Producer{ID: p.id, Epoch: p.epoch, Sequence: sequence}}
	b := batch(o, int(sequence), 2)
	until(r, label, version, func() kmsg.Request {
		q := r.producing(topic, partition, b)
		q.TransactionID = &p.txn
		return q
	}, func(p *kmsg.ProduceResponse) bool {
		return len(p.Topics) != 1 || len(p.Topics[0].Partitions) == 0 || !passing(p.Topics[0].Partitions[0].ErrorCode)
	})
}

// describeTxn shows a transaction as all the requests that can do.
func (r *run) describeTxn(label, txn, topic string) {
	q := kmsg.NewPtrDescribeTransactionsRequest()
	q.TransactionalIDs = []string{txn, "no-transaction"}
	r.quietly(func() { // the markers come by themselves
		until(r, "settled", 0, func() kmsg.Request { return q }, func(p *kmsg.DescribeTransactionsResponse) bool {
			return len(p.TransactionStates) == 0 || !strings.HasPrefix(p.TransactionStates[0].State, "Prepare")
		})
	})
	ask[*kmsg.DescribeTransactionsResponse](r, label, 0, q)
	for _, v := range r.plan.of(kmsg.ListTransactions, 0) {
		q := kmsg.NewPtrListTransactionsRequest()
		q.TransactionalIDPattern = ptr(txn)
		if v >= 2 {
			ask[*kmsg.ListTransactionsResponse](r, label, v, q)
		}
	}
	d := kmsg.NewPtrDescribeProducersRequest()
	t := kmsg.NewDescribeProducersRequestTopic()
	t.Topic, t.Partitions = topic, []int32{0, 1}
	d.Topics = append(d.Topics, t)
	ask[*kmsg.DescribeProducersResponse](r, label, 0, d)
}

// reads reads a topic's partition in both isolations, once the markers are there.
func (r *run) reads(label, topic string, partition int32) {
	r.quietly(func() {
		until(r, "stable", 12, func() kmsg.Request { return r.fetching(topic, partition, 0) }, func(p *kmsg.FetchResponse) bool {
			one := firstPartition(p)
			return one == nil || one.LastStableOffset == one.HighWatermark
		})
	})
	r.readsNow(label, topic, partition)
}

func firstPartition(p *kmsg.FetchResponse) *kmsg.FetchResponseTopicPartition {
	if len(p.Topics) == 0 || len(p.Topics[0].Partitions) == 0 {
		return nil
	}
	return &p.Topics[0].Partitions[0]
}

// readsNow is reads while a transaction is open.
func (r *run) readsNow(label, topic string, partition int32) {
	for _, v := range []int16{4, 11, 17} {
		for isolation := range int8(2) {
			for _, offset := range []int64{0, 3} {
				q := r.fetching(topic, partition, offset)
				q.IsolationLevel = isolation
				ask[*kmsg.FetchResponse](r, fmt.Sprintf("%s, isolation %d from %d", label, isolation, offset), v, q)
			}
			q := asking(topic, partition, -1)
			q.IsolationLevel = isolation
			ask[*kmsg.ListOffsetsResponse](r, fmt.Sprintf("%s, isolation %d", label, isolation), 7, q)
		}
	}
}

// firstTransactions runs transactions in the first protocol, at the versions that go with it.
func firstTransactions(r *run) {
	for v := range int16(5) {
		topic, txn := fmt.Sprint("t1-", v), fmt.Sprint("t1-", v)
		r.createTopic(topic, 2)
		p := r.initNew("init", min(v, 4), txn)
		pv := 3 + v*2
		r.describeTxn("nothing yet", txn, topic)
		r.transactional("before it is added", min(pv, 11), p, topic, 0, 0)
		r.addPartitions("add", min(v, 3), p, topic, 0)
		r.addPartitions("add again", min(v, 3), p, topic, 0, 1)
		r.addPartitions("add an unknown one", min(v, 3), p, topic, 0, 9)
		r.describeTxn("added", txn, topic)
		r.transactional("first", min(pv, 11), p, topic, 0, 0)
		r.transactional("duplicate", min(pv, 11), p, topic, 0, 0)
		r.transactional("gap", min(pv, 11), p, topic, 0, 9)
		r.describeTxn("open", txn, topic)
		r.readsNow("open", topic, 0)
		p = r.end("commit", min(v, 4), p, true)
		r.end("commit again", min(v, 4), p, true)
		r.end("abort what is committed", min(v, 4), p, false)
		r.reads("committed", topic, 0)
		r.describeTxn("committed", txn, topic)
		r.addPartitions("add for the second", min(v, 3), p, topic, 0)
		r.transactional("second", min(pv, 11), p, topic, 0, 2)
		p = r.end("abort", min(v, 4), p, false)
		r.end("abort again", min(v, 4), p, false)
		r.end("commit what is aborted", min(v, 4), p, true)
		r.reads("aborted", topic, 0)
		r.describeTxn("aborted", txn, topic)
		next := r.initNew("init again", min(v, 4), txn)
		r.addPartitions("fenced", min(v, 3), p, topic, 0)
		r.end("fenced", min(v, 4), p, true)
		r.transactional("fenced", min(pv, 11), p, topic, 0, 4)
		r.end("nothing to commit", min(v, 4), next, true)
		r.end("nothing to abort", min(v, 4), next, false)
		r.addPartitions("add for the third", min(v, 3), next, topic, 1)
		r.transactional("not added", min(pv, 11), next, topic, 0, 0)
		r.transactional("third", min(pv, 11), next, topic, 1, 0)
		// The next one to come aborts what is open.
		r.initNew("init over an open one", min(v, 4), txn)
		r.reads("aborted by init", topic, 1)
		r.describeTxn("in the end", txn, topic)
	}
}

// secondTransactions runs transactions in the second protocol: partitions are added by producing, each end bumps the epoch.
func secondTransactions(r *run) {
	topic, txn := "t2", "t2"
	r.createTopic(topic, 2)
	for _, v := range []int16{12, 13} {
		p := r.initNew("init", 5, txn)
		r.end("nothing to commit", 5, p, true)
		p = r.initNew("init after nothing", 5, txn)
		r.transactional("first", v, p, topic, 0, 0)
		r.transactional("first, other partition", v, p, topic, 1, 0)
		r.transactional("duplicate", v, p, topic, 0, 0)
		r.transactional("gap", v, p, topic, 0, 9)
		r.describeTxn("open", txn, topic)
		r.readsNow("open", topic, 0)
		old := p
		p = r.end("commit", 5, p, true)
		r.end("commit again", 5, old, true)
		r.end("abort what is committed", 5, old, false)
		r.reads("committed", topic, 0)
		r.transactional("old epoch", v, old, topic, 0, 2)
		r.transactional("new epoch, old sequence", v, p, topic, 0, 2)
		r.transactional("new epoch", v, p, topic, 0, 0)
		r.commitOffsets("offsets", 5, p, "t2-group", 4)
		r.fetchOffsets("while open", "t2-group", 8, fixTopic)
		r.describeTxn("with offsets", txn, topic)
		old = p
		p = r.end("abort", 5, p, false)
		r.end("abort again", 5, old, false)
		r.end("commit what is aborted", 5, old, true)
		r.reads("aborted", topic, 0)
		r.fetchOffsets("aborted", "t2-group", 8, fixTopic)
		r.end("abort nothing", 5, p, false)
		r.describeTxn("in the end", txn, topic)
	}
	p := r.initNew("without end", 5, "t2-open")
	r.transactional("without end", 13, p, topic, 1, 0)
	again := r.initNew("init over an open one", 5, "t2-open")
	r.transactional("fenced", 13, p, topic, 1, 2)
	r.end("fenced", 5, p, true)
	r.reads("aborted by init", topic, 1)
	r.transactional("a new one", 13, again, topic, 1, 0)
	r.end("a new one", 5, again, true)
	r.reads("a new one", topic, 1)
	plain := record.Options{Producer: &record.Producer{ID: again.id, Epoch: again.epoch + 1, Sequence: 0}}
	ask[*kmsg.ProduceResponse](r, "without a transaction", 13, r.producing(topic, 1, batch(plain, 0, 1)))
	r.transactional("unknown topic", 13, again, "no-such-topic", 0, 0)
	r.transactional("unknown partition", 13, again, topic, 7, 0)
	r.transactional("unknown transaction", 13, producer{"t2-nobody", again.id, again.epoch}, topic, 0, 0)
	r.transactional("unknown producer", 13, producer{txn, invented + 5, 0}, topic, 0, 0)
}

// initTransactions asks for producer ids in all ways.
func initTransactions(r *run) {
	for _, v := range r.plan.of(kmsg.InitProducerID, 0) {
		txn := fmt.Sprint("ti-", v)
		for n, timeout := range []int32{-1, 0, 1, 900_000, 900_001} {
			q := kmsg.NewPtrInitProducerIDRequest()
			q.TransactionalID, q.TransactionTimeoutMillis = ptr(fmt.Sprint(txn, "-timeout-", n)), timeout
			ask[*kmsg.InitProducerIDResponse](r, fmt.Sprint("timeout ", timeout), v, q)
		}
		r.initNew("first", v, txn)
		p := r.initNew("second", v, txn)
		p = r.initTxn("with its own", v, txn, p.id, p.epoch)
		r.initTxn("with an old epoch", v, txn, p.id, p.epoch-1)
		r.initTxn("with an older epoch", v, txn, p.id, p.epoch-2)
		r.initTxn("with a later epoch", v, txn, p.id, p.epoch+1)
		r.initTxn("with another id", v, txn, invented+1, 0)
		r.initTxn("epoch without id", v, txn, -1, 3)
		r.initTxn("id without epoch", v, txn, p.id, -1)
		r.initTxn("unknown, with an id", v, txn+"-unknown", p.id, 0)
		q := kmsg.NewPtrInitProducerIDRequest()
		q.ProducerID, q.ProducerEpoch, q.TransactionTimeoutMillis = p.id, p.epoch, 1000
		ask[*kmsg.InitProducerIDResponse](r, "idempotent, with an id", v, q)
		q = kmsg.NewPtrInitProducerIDRequest()
		q.TransactionalID = ptr("")
		ask[*kmsg.InitProducerIDResponse](r, "empty", v, q)
	}
}

// transactionalOffsets commits offsets in transactions of both protocols.
func transactionalOffsets(r *run) {
	for _, v := range r.plan.of(kmsg.TxnOffsetCommit, 0) {
		group, txn := fmt.Sprint("to-", v), fmt.Sprint("to-", v)
		p := r.initNew("init", min(v, 5), txn)
		if v < 5 {
			r.commitOffsets("before it is added", v, p, group, 1)
			r.addOffsets("add", min(v, 4), p, group)
		}
		r.commitOffsets("in the transaction", v, p, group, 2)
		r.fetchOffsets("pending", group, 7, fixTopic)
		q := kmsg.NewPtrOffsetFetchRequest()
		q.RequireStable = true
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberEpoch = group, -1
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.TopicID, t.Partitions = fixTopic, r.id(fixTopic), []int32{0, 1}
		g.Topics = append(g.Topics, t)
		q.Groups = append(q.Groups, g)
		ask[*kmsg.OffsetFetchResponse](r, "stable only", 8, q)
		ask[*kmsg.OffsetFetchResponse](r, "stable only", 10, q)
		r.deleteGroups("while pending", 2, group)
		r.commit(group, fixTopic, 1, 9)
		p = r.end("commit", min(v, 5), p, true)
		until(r, "committed", 9, func() kmsg.Request { return q }, stableOffsets)
		if v < 5 {
			r.addOffsets("add again", min(v, 4), p, group)
		}
		r.commitOffsets("to be aborted", v, p, group, 5)
		old := p
		p = r.end("abort", min(v, 5), p, false)
		until(r, "aborted", 9, func() kmsg.Request { return q }, stableOffsets)
		r.commitOffsets("old epoch", v, producer{txn, old.id, old.epoch - 1}, group, 5)
		bad := kmsg.NewPtrTxnOffsetCommitRequest()
		bad.TransactionalID, bad.ProducerID, bad.ProducerEpoch, bad.Group, bad.Generation, bad.MemberID = txn, p.id, p.epoch, group, 3, "nobody"
		bt := kmsg.NewTxnOffsetCommitRequestTopic()
		bt.Topic = fixTopic
		bt.Partitions = append(bt.Partitions, kmsg.NewTxnOffsetCommitRequestTopicPartition())
		bad.Topics = append(bad.Topics, bt)
		r.tryOffsets("as a member", v, bad)
		bad.Generation, bad.MemberID, bad.Group = -1, "", ""
		r.tryOffsets("empty group", v, bad)
		bad.Group, bad.Topics[0].Topic = group, "no-such-topic"
		r.tryOffsets("unknown topic", v, bad)
	}
}

func stableOffsets(p *kmsg.OffsetFetchResponse) bool {
	for _, g := range p.Groups {
		for _, t := range g.Topics {
			for _, one := range t.Partitions {
				if one.ErrorCode != 0 {
					return false
				}
			}
		}
	}
	return true
}

// transactionFencing uses wrong ids and epochs everywhere.
func transactionFencing(r *run) {
	r.createTopic("tf", 2)
	r.initNew("init", 4, "tf")
	p := r.initNew("init again", 4, "tf")
	wrongs := map[string]producer{
		"old epoch":   {"tf", p.id, p.epoch - 1},
		"later epoch": {"tf", p.id, p.epoch + 1},
		"no epoch":    {"tf", p.id, -1},
		"wrong id":    {"tf", invented + 3, p.epoch},
		"no id":       {"tf", -1, -1},
		"unknown":     {"tf-unknown", p.id, p.epoch},
		"empty":       {"", p.id, p.epoch},
	}
	for _, name := range sorted(wrongs) {
		wrong := wrongs[name]
		for v := range int16(4) {
			r.addPartitions(name, v, wrong, "tf", 0)
			r.addOffsets(name, v, wrong, "tf-group")
			r.end(name, v, wrong, true)
			r.commitOffsets(name, v, wrong, "tf-group", 1)
		}
		r.addOffsets(name, 4, wrong, "tf-group")
		r.end(name, 4, wrong, false)
		r.end(name, 5, wrong, false)
		r.commitOffsets(name, 5, wrong, "tf-group", 1)
		partition := int32(0)
		if wrong.id < 0 {
			partition = 1 // where nobody reads
		}
		r.transactional(name, 11, wrong, "tf", partition, 0)
		r.transactional(name, 13, wrong, "tf", partition, 0)
	}
	r.reads("nothing", "tf", 0)
}

// writtenMarkers writes markers itself, as coordinators do.
func writtenMarkers(r *run) {
	r.createTopic("tm", 1)
	p := r.initNew("init", 4, "tm")
	r.addPartitions("add", 3, p, "tm", 0)
	r.transactional("open", 11, p, "tm", 0, 0)
	for _, v := range r.plan.of(kmsg.WriteTxnMarkers, 0) {
		for _, epoch := range []int16{p.epoch - 1, p.epoch, p.epoch + 1} {
			for _, coordinator := range []int32{0, 5, 3} {
				q := kmsg.NewPtrWriteTxnMarkersRequest()
				m := kmsg.NewWriteTxnMarkersRequestMarker()
				m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch, m.Committed = p.id, epoch, coordinator, true
				t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
				t.Topic, t.Partitions = "tm", []int32{0, 4}
				m.Topics = append(m.Topics, t)
				q.Markers = append(q.Markers, m)
				ask[*kmsg.WriteTxnMarkersResponse](r, fmt.Sprintf("epoch %+d, coordinator %d", epoch-p.epoch, coordinator), v, q)
			}
		}
	}
	r.reads("in the end", "tm", 0)
	r.strictMarkers()
}

// strictMarkers writes markers that say which version their transaction is of, while it is open and after its end, also where
// both epochs are too low.
func (r *run) strictMarkers() {
	r.createTopic("tm-strict", 1)
	const coordinator = 9
	for n, version := range []int8{0, 1, 2, 3} {
		p := r.initNew(fmt.Sprint("init strict ", version), 4, fmt.Sprint("tm-strict-", version))
		p = r.initNew(fmt.Sprint("init strict again ", version), 4, p.txn)
		write := func(label string, epoch int16, coordinator int32) {
			q := kmsg.NewPtrWriteTxnMarkersRequest()
			m := kmsg.NewWriteTxnMarkersRequestMarker()
			m.ProducerID, m.ProducerEpoch, m.CoordinatorEpoch, m.TransactionVersion = p.id, epoch, coordinator, version
			t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
			t.Topic, t.Partitions = "tm-strict", []int32{0}
			m.Topics = append(m.Topics, t)
			q.Markers = append(q.Markers, m)
			ask[*kmsg.WriteTxnMarkersResponse](r, fmt.Sprintf("version %d, %s", version, label), 2, q)
		}
		begin := func(sequence int32) {
			r.addPartitions(fmt.Sprint("add strict ", version), 3, p, "tm-strict", 0)
			r.transactional(fmt.Sprint("open strict ", version), 11, p, "tm-strict", 0, sequence)
		}
		begin(0)
		write("no coordinator before", p.epoch-1, coordinator)
		write("same epoch, open", p.epoch, coordinator)
		write("same epoch, ended", p.epoch, coordinator)
		begin(2)
		write("both too low, open", p.epoch-1, coordinator-1)
		write("coordinator too low, open", p.epoch, coordinator-1)
		write("same epoch, open again", p.epoch, coordinator)
		write("higher epoch", p.epoch+1, coordinator)
		write("both too low, ended", p.epoch, coordinator-1)
		write("coordinator too low, ended", p.epoch+1, coordinator-1)
		r.readsNow(fmt.Sprint("strict ", n), "tm-strict", 0)
	}
}

// verifyOnly asks, as brokers do, whether partitions belong to transactions.
func verifyOnly(r *run) {
	r.createTopic("tv", 2)
	p := r.initNew("init", 4, "tv")
	r.addPartitions("add", 3, p, "tv", 0)
	for _, v := range []int16{4, 5} {
		for _, verify := range []bool{true, false} {
			q := kmsg.NewPtrAddPartitionsToTxnRequest()
			for n, who := range []producer{p, {"tv-unknown", p.id, 0}, {"tv", p.id, p.epoch + 1}} {
				one := kmsg.NewAddPartitionsToTxnRequestTransaction()
				one.TransactionalID, one.ProducerID, one.ProducerEpoch, one.VerifyOnly = who.txn, who.id, who.epoch, verify
				t := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
				t.Topic, t.Partitions = "tv", []int32{0, 1}
				one.Topics = append(one.Topics, t)
				q.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{one}
				ask[*kmsg.AddPartitionsToTxnResponse](r, fmt.Sprintf("producer %d, verify %v", n, verify), v, q)
			}
		}
	}
	r.end("end", 4, p, false)
}
