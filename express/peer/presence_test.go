package peer

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// PE8: who answers is not silent, and who does not is named after Config.Patience, or at once where the connection is refused.
func TestSilentNamesWhoDoesNotAnswer(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
		ask := func(want []int32, least, most time.Duration) {
			t.Helper()
			began := time.Now()
			got := p.Silent(t.Context(), []int32{1, 2, 9}, nil)
			if took := time.Since(began); !slices.Equal(got, append([]int32{9}, want...)) || took < least || took > most {
				t.Errorf("%v after %v, want 9 and %v after %v to %v", got, took, want, least, most)
			}
		}
		ask(nil, 0, 0)
		b.kill(2, true)
		b.restart(2) // the connection is not used any more
		ask([]int32{2}, 0, 0)
		b.kill(2, false)
		ask(nil, 0, presencePause)
		b.say(func(id int32, q kmsg.Request) kmsg.Response {
			if id == 1 {
				return nil
			}
			return agree(id, q)
		})
		ask([]int32{1}, time.Second, time.Second)
		b.say(agree)
		ask(nil, 0, presencePause)
	})
}

// PE9: however many ask and however often, a silence is waited for no longer than Config.Silence; then it is not even asked about.
func TestASilenceIsWaitedForOnce(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
		b.say(func(int32, kmsg.Request) kmsg.Response { return nil })
		began := time.Now()
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() {
				for len(p.Silent(context.Background(), []int32{1}, nil)) > 0 {
					time.Sleep(10 * time.Millisecond)
				}
			})
		}
		asking.Wait()
		if took := time.Since(began); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("it was waited for %v", took)
		}
		again := time.Now()
		if got := p.Silent(context.Background(), []int32{1}, nil); len(got) > 0 || time.Since(again) != 0 {
			t.Errorf("%v after %v", got, time.Since(again))
		}
		b.say(agree) // it is asked all the same, so that its answer is heard
		time.Sleep(2 * time.Second)
		p.Silent(context.Background(), []int32{1}, nil)
		time.Sleep(2 * time.Second)
		if p.isSilent(1) {
			t.Error("a broker that answers is still silent")
		}
		b.say(func(int32, kmsg.Request) kmsg.Response { return nil })
		if got := p.Silent(context.Background(), []int32{1}, nil); !slices.Equal(got, []int32{1}) {
			t.Errorf("a silence that is new: %v", got)
		}
		time.Sleep(5 * time.Second)
		b.restart(1)
		if got := p.Silent(context.Background(), []int32{1}, nil); !slices.Equal(got, []int32{1}) {
			t.Errorf("another incarnation that is silent: %v", got)
		}
	})
}

// News end the wait for a broker that was silent before; for one that was not they are none.
func TestNewsEndTheWaitForTheSilent(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *fakes, p *Pool) {
		b.say(func(int32, kmsg.Request) kmsg.Response { return nil })
		news := make(chan struct{})
		close(news)
		if got := p.Silent(context.Background(), []int32{1}, news); len(got) > 0 {
			t.Errorf("not silent before: %v", got)
		}
		p.Silent(context.Background(), []int32{1}, nil)
		synctest.Wait()
		began := time.Now()
		if got := p.Silent(context.Background(), []int32{1}, news); !slices.Equal(got, []int32{1}) || time.Since(began) != 0 {
			t.Errorf("silent before: %v after %v", got, time.Since(began))
		}
	})
}
