package catalog

import (
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"

	"millrace/express/quota"
)

func TestQuotasAreComparedAndSwapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory(t)
		a, b := start(t, store, self(1, 1)), start(t, store, self(2, 1))
		e := quota.Entity{User: quota.Exactly("alice"), ClientID: quota.Default()}
		want := quota.Values{"producer_byte_rate": 1, "consumer_byte_rate": 2, "request_percentage": 3, "controller_mutation_rate": 4}
		var wg sync.WaitGroup
		for key, v := range want {
			wg.Go(func() {
				if err := []*Catalog{a, b}[int(v)%2].SetQuotas(t.Context(), e, []quota.Op{{Key: key, Value: v}}, false); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		for _, c := range []*Catalog{a, b, open(t, store, self(3, 1))} {
			if got := c.Quotas().Values(e); !maps.Equal(got, want) {
				t.Errorf("quotas %v, want %v", got, want)
			}
		}
		remove := []quota.Op{{Key: "producer_byte_rate", Remove: true}}
		if err := a.SetQuotas(t.Context(), e, remove, true); err != nil || len(a.Quotas().Values(e)) != 4 {
			t.Errorf("validate only: %v, %v", err, a.Quotas().Values(e))
		}
		if err := a.SetQuotas(t.Context(), e, append(remove, remove...), false); !errors.Is(err, quota.ErrInvalid) {
			t.Error(err)
		}
		for key := range want {
			if err := a.SetQuotas(t.Context(), e, []quota.Op{{Key: key, Remove: true}}, false); err != nil {
				t.Error(err)
			}
		}
		items, _, err := store.List(t.Context(), prefix+"quotas/")
		if err != nil || len(items) != 0 {
			t.Errorf("removed quotas left %v, %v", items, err)
		}
		synctest.Wait()
		if found, _ := b.Quotas().Describe(nil, false); len(found) != 0 {
			t.Errorf("removed quotas are still in force: %v", found)
		}
	})
}
