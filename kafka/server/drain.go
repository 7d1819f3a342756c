package server

// Drain lets no more requests of the connection in. What is answered is written; once all is answered the connection ends, and its
// client learns of it. It does not wait, and is safe to call from anywhere.
func (c *Conn) Drain() { c.drain() }
