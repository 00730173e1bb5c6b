// Package dns resolves the names of Services, which pods look up at the node's
// address. No other name is known: nothing in the sandbox reaches the outside.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Port is where resolvers ask.
const Port = 53

// domain is the cluster's, below which Services are.
const domain = ".svc.cluster.local."

// maxMessage is the longest query that is read; resolvers send short ones.
const maxMessage = 1232

// answerTTL keeps resolvers from remembering a Service that was made anew.
const answerTTL = 1

// lookUpTimeout ends a look-up before the resolver asks again.
const lookUpTimeout = 3 * time.Second

// LookUp finds the addresses of a Service; none when there is no such Service.
type LookUp func(ctx context.Context, namespace, service string) ([]netip.Addr, error)

// Serve answers queries until the connection is closed.
func Serve(connection net.PacketConn, lookUp LookUp) error {
	buffer := make([]byte, maxMessage)
	for {
		n, from, err := connection.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a DNS query: %w", err)
		}
		query := append([]byte(nil), buffer[:n]...)
		go func() {
			if answer, err := answer(query, lookUp); err == nil {
				_, _ = connection.WriteTo(answer, from)
			}
		}()
	}
}

// answer fails for what is no query: such packets get none.
func answer(query []byte, lookUp LookUp) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil || header.Response {
		return nil, errors.New("not a query")
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTimeout)
	defer cancel()
	addresses, code := resolve(ctx, question, lookUp)
	return reply(header, question, addresses, code)
}

func resolve(ctx context.Context, question dnsmessage.Question, lookUp LookUp) ([]netip.Addr, dnsmessage.RCode) {
	namespace, service, ours := parseName(question.Name.String())
	if !ours {
		return nil, dnsmessage.RCodeNameError
	}
	addresses, err := lookUp(ctx, namespace, service)
	switch {
	case err != nil:
		return nil, dnsmessage.RCodeServerFailure
	case len(addresses) == 0:
		return nil, dnsmessage.RCodeNameError
	case question.Type != dnsmessage.TypeA:
		// The Service is there, but has no records of another type.
		return nil, dnsmessage.RCodeSuccess
	}
	return addresses, dnsmessage.RCodeSuccess
}

// parseName splits SERVICE.NAMESPACE.svc.cluster.local.
func parseName(name string) (namespace, service string, ok bool) {
	names, ok := strings.CutSuffix(strings.ToLower(name), domain)
	if !ok {
		return "", "", false
	}
	service, namespace, ok = strings.Cut(names, ".")
	return namespace, service, ok && !strings.Contains(namespace, ".")
}

func reply(query dnsmessage.Header, question dnsmessage.Question, addresses []netip.Addr, code dnsmessage.RCode) ([]byte, error) {
	builder := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: query.ID, Response: true, Authoritative: true, RecursionDesired: query.RecursionDesired,
		RecursionAvailable: true, RCode: code,
	})
	if err := errors.Join(builder.StartQuestions(), builder.Question(question), builder.StartAnswers()); err != nil {
		return nil, err
	}
	for _, address := range addresses {
		resource := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: answerTTL}
		if err := builder.AResource(resource, dnsmessage.AResource{A: address.As4()}); err != nil {
			return nil, err
		}
	}
	return builder.Finish()
}
