"""Pages: a greeting, and what Django makes of a request."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path


def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello from Django")


def seen(request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        {
            "uri": request.build_absolute_uri(),
            "secure": request.is_secure(),
            "script": request.META["SCRIPT_NAME"],
            "form": dict(request.POST),
        }
    )


urlpatterns = [path("", hello), path("seen", seen)]
