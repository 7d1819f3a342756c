// Package linear decides whether each key of a tape behaved like one log on one machine: whether there is an order of its operations,
// each at a moment between its call and its return, in which every answer is right (linearizability, Herlihy and Wing 1990).
//
// The log is a number, its end. An append that was answered with an offset is right exactly where that is the end, which it then moves up
// by one; a poll that gave records is right where all of them lie below the end; a question for the end is right where it is what was
// told. What stands at an offset never changes, which package rules judges.
//
// An append of unknown outcome counts if its record was seen anywhere, and may take effect at any time after its call.
//
// The search is porcupine's. Long histories are judged in windows, cut where no operation is on its way: of those of unknown outcome
// whose records lie at or above the highest end that was seen before the cut, nobody has seen a trace yet, so that they may as well take
// effect after it.
//
// Only keys that nobody sent to in transactions are judged: there a record stands in the log before it may be polled.
package linear
