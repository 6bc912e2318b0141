// Package wire is the conversation between ipvs-load run and ipvs-load serve.
//
// Both sides speak lines of ASCII text, at most MaxLine bytes with their newline, so that a person with netcat can take
// either part. Over TCP one request line is answered by one reply line and the connection stays usable; over UDP a
// datagram holds exactly one line, and its newline may be missing.
//
//	request  ipvs-load/1 TOKEN
//	reply    ipvs-load/1 id=NAME client=ADDRESS:PORT token=TOKEN
//	refusal  ipvs-load/1 error=REASON
//
// TOKEN is chosen by the client and comes back unchanged, which distinguishes a late UDP answer from the awaited one. A
// line that does not begin with "ipvs-load/", the empty line above all, is answered as a request without a token, and
// the reply then has no token field. Fields after TOKEN in a request, and keys in a reply that a reader does not know,
// are ignored: they are reserved for additions to version 1.
//
// A line of any version whose second word has a "=" is a reply or a refusal. A server never answers one: with a forged
// source, two servers would otherwise answer each other without end. So every later version has to begin its replies
// with a key, and its requests without one.
package wire
