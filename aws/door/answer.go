package door

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"maps"
	"mime"
	"net/http"
	"strconv"
)

// Names of headers.
const (
	headerTarget = "X-Amz-Target"
	headerID     = "X-Amzn-RequestId"
	headerError  = "X-Amzn-ErrorType"
)

// told is what a client is told of an error. One that is not for clients is told to the log.
func (h *Handler) told(c *Call, s *room, err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) && s.Error != nil {
		e = s.Error(err)
	}
	if e == nil {
		name := ""
		if c.operation != nil {
			name = c.operation.Name
		}
		if errors.Is(err, context.Canceled) && c.Request.Context().Err() != nil {
			h.world.Log.Debug("client went away", "request_id", c.ID, "operation", name)
		} else {
			h.world.Log.Error("a call failed", "request_id", c.ID, "service", s.Name, "operation", name, "err", err)
		}
		e = Internal()
	}
	return s.inWords(e)
}

// inWords gives an error of the door the code and status that the service's protocol has for it.
func (s *room) inWords(e *Error) *Error {
	out := *e
	switch {
	case s.Protocol == Query:
		if code, ok := queryCodes()[e.Code]; ok {
			out.Code = code
		} else if e.Code == "TooManyRequestsException" {
			out.Code, out.Status = "Throttling", http.StatusBadRequest
		}
		if out.Code == "IncompleteSignature" {
			out.Status = http.StatusBadRequest
		}
	case s.Protocol == JSON11:
		if e.Code == "TooManyRequestsException" {
			out.Code = "ThrottlingException"
		}
		if out.Status < http.StatusInternalServerError {
			out.Status = http.StatusBadRequest
		}
	}
	if e.Code == "BadRequestException" && s.Invalid != "" {
		out.Code = s.Invalid
	}
	return &out
}

// write answers. A client that is gone costs nothing.
func (s *room) write(w http.ResponseWriter, c *Call, answer any, e *Error) {
	status, body := http.StatusOK, []byte(nil)
	header := w.Header()
	if e == nil {
		maps.Copy(header, c.Header)
		if c.operation.Status != 0 {
			status = c.operation.Status
		}
		var err error
		if body, err = s.encode(c, answer); err != nil {
			e = s.inWords(Internal())
		}
	}
	if e != nil {
		status, body = e.Status, s.encodeError(c, e)
		if s.Protocol != Query {
			header.Set(headerError, e.Code)
		}
	}
	header.Set(headerID, c.ID)
	header.Set("Cache-Control", "no-store") // there may be a secret in it
	if len(body) > 0 {
		header.Set("Content-Type", s.contentType())
	}
	if status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (s *room) contentType() string {
	switch s.Protocol {
	case JSON11:
		return "application/x-amz-json-1.1"
	case Query:
		return "text/xml"
	default:
		return "application/json"
	}
}

// encode is an answer on the wire. Without one there is an empty body, but an empty object where a protocol wants one.
func (s *room) encode(c *Call, answer any) ([]byte, error) {
	switch {
	case s.Protocol == Query:
		return s.encodeQuery(c, answer)
	case answer != nil:
		return json.Marshal(answer)
	case s.Protocol == JSON11 || c.operation.Status != http.StatusNoContent:
		return []byte("{}"), nil
	}
	return nil, nil
}

func (s *room) encodeQuery(c *Call, answer any) ([]byte, error) {
	var b bytes.Buffer
	x := xml.NewEncoder(&b)
	name := c.operation.Name
	outer := xml.StartElement{Name: xml.Name{Local: name + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: s.Namespace}}}
	err := x.EncodeToken(outer)
	if answer != nil {
		err = errors.Join(err, x.EncodeElement(answer, xml.StartElement{Name: xml.Name{Local: name + "Result"}}))
	}
	metadata := struct {
		ID string `xml:"RequestId"`
	}{c.ID}
	err = errors.Join(err, x.EncodeElement(metadata, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}), x.EncodeToken(outer.End()), x.Close())
	return b.Bytes(), err
}

// encodeError is an error on the wire.
func (s *room) encodeError(c *Call, e *Error) []byte {
	if s.Protocol == Query {
		return s.encodeQueryError(c, e)
	}
	body := struct {
		Type      string `json:"__type,omitempty"`
		Message   string `json:"message"`
		Parameter string `json:"invalidParameter,omitempty"`
	}{Message: e.Message, Parameter: e.InvalidParameter}
	if s.Protocol == JSON11 {
		body.Type = e.Code
	}
	text, err := json.Marshal(body)
	if err != nil { // of strings: never
		return []byte("{}")
	}
	return text
}

func (s *room) encodeQueryError(c *Call, e *Error) []byte {
	type fault struct {
		Type, Code, Message string
	}
	body := struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Space   string   `xml:"xmlns,attr"`
		Error   fault
		ID      string `xml:"RequestId"`
	}{Space: s.Namespace, Error: fault{"Sender", e.Code, e.Message}, ID: c.ID}
	if e.Status >= http.StatusInternalServerError {
		body.Error.Type = "Receiver"
	}
	text, err := xml.Marshal(body)
	if err != nil {
		return nil
	}
	return text
}

// checkType refuses a body that says that it is something else.
func (s *room) checkType(c *Call) *Error {
	kind, _, err := mime.ParseMediaType(c.Request.Header.Get("Content-Type"))
	switch {
	case len(c.Body) == 0 || kind == "" && err != nil && c.Request.Header.Get("Content-Type") == "":
		return nil
	case s.Protocol == JSON11 && kind == "application/x-amz-json-1.1", s.Protocol == RestJSON && kind == "application/json":
		return nil
	}
	return Fail(http.StatusUnsupportedMediaType, "UnsupportedMediaTypeException", "", "The content type %s is not supported; use %s.", clip(kind), s.contentType())
}

func isForm(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind == "application/x-www-form-urlencoded"
}
