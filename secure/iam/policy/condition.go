package policy

// condition is one key under one operator; all conditions of a statement must hold.
type condition struct {
	op       operator
	key      key
	operands []operand
	allow    bool // it stands in an Allow: what cannot be told must not widen
}

// holds says whether the request meets the condition.
func (c *condition) holds(e *evaluation) bool {
	first, rest, n := e.lookup(c.key)
	if c.op.family == nullOf {
		for i := range c.operands {
			if c.operands[i].truth == (n == 0) {
				return true
			}
		}
		return false
	}
	if n == 0 {
		return c.missing()
	}
	for i := range n {
		d := first
		if i > 0 {
			d = datum{text: rest[i-1]}
		}
		met := c.meets(e, d)
		switch {
		case c.op.quantity == forAny && met:
			return true
		case c.op.quantity == forAll && !met:
			return false
		case c.op.quantity == single && met != c.op.negated:
			return met // any value that fits: a positive condition holds, a negated one does not
		}
	}
	// Nothing has decided: with ForAnyValue none has met it, with ForAllValues all have; without either, a positive one
	// found nothing that fits and a negated one too.
	return c.op.quantity == forAll || c.op.quantity == single && c.op.negated
}

// missing is the answer where the request does not have the key.
func (c *condition) missing() bool {
	switch {
	case c.op.ifExists, c.op.quantity == forAll:
		return true
	case c.op.quantity == forAny:
		return false
	default:
		return c.op.negated
	}
}

// meets says whether one value fits one of the operands or, negated, none of them.
func (c *condition) meets(e *evaluation, d datum) bool {
	for i := range c.operands {
		fits, known := c.op.compare(e, &c.operands[i], d)
		if fits {
			return !c.op.negated
		}
		if !known && c.op.negated && c.allow {
			return false
		}
	}
	return c.op.negated
}
